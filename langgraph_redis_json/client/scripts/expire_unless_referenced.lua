-- requires: deadlines
-- Give large blobs, whose entries start at ARGV[2], a deadline: that of the thread, or ARGV[1]
-- milliseconds from now (0 for a saver without a TTL) if that is later. Does nothing if the thread
-- is pinned, or never expires and the saver has no TTL.
-- So the blobs expire if no checkpoint ever refers to them. store.lua gives them the thread's own
-- deadline, and the thread may have expired by then. Where a put is done again, the blobs may have
-- existed for long, and checkpoints may need them.

local deadline, pending, ttl = redis.call('PEXPIRETIME', contents), pending_deadline(), tonumber(ARGV[1])
if pending and pending < 0 then return end
local last = math.max(pending or -1, deadline, ttl > 0 and now() + ttl or -1)
if last < 0 then return end
for i = 2, #ARGV do
  local key = key_of(ARGV[i])
  -- If this script was new to the server and was sent again after store.lua, the blobs have the
  -- thread's deadline already.
  if deadline < 0 or redis.call('PEXPIRETIME', key) ~= deadline then set_deadline(key, last) end
end
