-- requires: deletion
-- Delete up to ARGV[1] keys of a thread; with ARGV[2] nothing, unless the thread last changed at that
-- time (updated_at). Returns how many are left, 1 if the thread exists, but not its table of contents,
-- and 1 if it changed at another time.
-- The thread document goes first, then the checkpoints: so a reader never meets a checkpoint whose
-- blobs are gone.

if ARGV[2] and redis.pcall('JSON.GET', key_of('t'), '.updated_at') ~= ARGV[2] then return { 0, 0, 1 } end
if redis.call('EXISTS', contents) == 0 then return { 0, redis.call('EXISTS', key_of('t')), 0 } end
local left = tonumber(ARGV[1])
for _, start in ipairs({ 't', 'c:', '' }) do
  local entries = redis.call(
    'ZRANGEBYLEX', contents, '[' .. start, '(' .. start .. AFTER_ALL, 'LIMIT', 0, left
  )
  delete_all(entries)
  left = left - #entries
  if left == 0 then break end
end
return { redis.call('ZCARD', contents), 0, 0 }
