-- Store documents of one thread, all or none.
-- ARGV[3] is how many entries follow that must be there already; then come entry, document, …
-- Returns the entries that are not there: if there are any, nothing is stored.

local count = tonumber(ARGV[3])
local missing = {}
for i = 4, 3 + count do
  if redis.call('EXISTS', key_of(ARGV[i])) == 0 then missing[#missing + 1] = ARGV[i] end
end
if #missing > 0 then return missing end

local root = false
for i = 4 + count, #ARGV, 2 do
  redis.call('ZADD', contents, 0, ARGV[i])
  redis.call('JSON.SET', key_of(ARGV[i]), '$', ARGV[i + 1])
  if ARGV[i]:sub(1, 3) == 'c::' then root = true end
end
if root then refresh_thread() end
return missing
