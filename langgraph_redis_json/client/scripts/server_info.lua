-- requires: nothing
-- What INFO says in each section that ARGV names, '' for what the user may not ask; and the server's
-- clock in milliseconds.

local found = {}
for i, section in ipairs(ARGV) do
  local reply = redis.pcall('INFO', section)
  found[i] = type(reply) == 'string' and reply or ''
end
local time = redis.call('TIME')
return { found, time[1] * 1000 + math.floor(time[2] / 1000) }
