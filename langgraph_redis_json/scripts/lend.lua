-- Let large blobs, whose entries follow, vanish with the thread, or ARGV[1] milliseconds from now (0
-- for a saver without a TTL) if that is later; unless the thread is pinned, or lives for ever and has
-- no saver with a TTL. So they do where nobody comes to refer to them, until store.lua gives them
-- the thread's deadline, which may be gone by itself by then. They may be there for long, and
-- needed, where a put is done again.

local deadline, to, ttl = redis.call('PEXPIRETIME', contents), coming(), tonumber(ARGV[1])
if to and to < 0 then return end
local last = math.max(to or -1, deadline, ttl > 0 and now() + ttl or -1)
if last < 0 then return end
for i = 2, #ARGV do
  local key = key_of(ARGV[i])
  -- Where store.lua came first (this was new to the server, and sent again), they have it.
  if deadline < 0 or redis.call('PEXPIRETIME', key) ~= deadline then give(key, last) end
end
