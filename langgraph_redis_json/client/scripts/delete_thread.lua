-- requires: deletion
-- Delete up to ARGV[1] keys of a thread. Returns how many are left.
-- The thread document goes first, then the checkpoints: so a reader never meets a checkpoint whose
-- blobs are gone.

local left = tonumber(ARGV[1])
for _, start in ipairs({ 't', 'c:', '' }) do
  local entries = redis.call(
    'ZRANGEBYLEX', contents, '[' .. start, '(' .. start .. AFTER_ALL, 'LIMIT', 0, left
  )
  delete_all(entries)
  left = left - #entries
  if left == 0 then break end
end
return redis.call('ZCARD', contents)
