-- requires: staging
-- Begin the import of a thread, or go on with it. ARGV[1] is the checksum of its content, ARGV[2] how
-- many milliseconds the staged documents live. (parts/staging.lua)
-- Returns 1 if documents of the same content are staged already and live for at least half of that
-- time, else 0: then the caller discards them.

local deadline = redis.call('PEXPIRETIME', staging)
if redis.call('ZSCORE', staging, 'i:' .. ARGV[1]) and deadline - now() > ARGV[2] / 2 then return 1 end
if deadline == -2 then
  redis.call('ZADD', staging, 0, 'i:' .. ARGV[1])
  set_deadline(staging, now() + ARGV[2])
  return 1
end
return 0
