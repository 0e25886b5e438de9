-- requires: deadlines
-- Let ARGV[1] alone have a lock for ARGV[2] milliseconds, unless another has it.
-- Returns 1 if ARGV[1] has it, else 0.

local holder = redis.call('ZRANGEBYLEX', contents, '-', '+', 'LIMIT', 0, 1)[1]
if holder and holder ~= ARGV[1] then return 0 end
redis.call('ZADD', contents, 0, ARGV[1])
set_deadline(contents, now() + tonumber(ARGV[2]))
return 1
