-- Delete up to ARGV[1] of a thread's keys; returns how many are left.
-- First goes what lists the thread among others, then the checkpoints: so a reader never meets one
-- whose blobs are gone.

local left = tonumber(ARGV[1])
for _, start in ipairs({ 't', 'c:', '' }) do
  local names = redis.call(
    'ZRANGEBYLEX', contents, '[' .. start, '(' .. start .. LAST, 'LIMIT', 0, left
  )
  forget_all(names)
  left = left - #names
  if left == 0 then break end
end
return redis.call('ZCARD', contents)
