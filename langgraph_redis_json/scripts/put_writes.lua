-- Add writes to one task's pending writes.
-- ARGV[3] is the entry, ARGV[4] the document up to its writes, then come index, write, …
-- An ordinary write (index 0 and up) keeps the first value, a special one the last.

local entry, head = ARGV[3], ARGV[4]
local key = key_of(entry)
local special = false
for i = 5, #ARGV, 2 do special = special or tonumber(ARGV[i]) < 0 end

redis.call('ZADD', contents, 0, entry)
if redis.call('EXISTS', key) == 0 then
  local writes = {}
  for i = 5, #ARGV, 2 do writes[#writes + 1] = '"' .. ARGV[i] .. '":' .. ARGV[i + 1] end
  redis.call('JSON.SET', key, '$', head .. ',"writes":{' .. table.concat(writes, ',') .. '}}')
else
  for i = 5, #ARGV, 2 do
    local path = '$.writes["' .. ARGV[i] .. '"]'
    if tonumber(ARGV[i]) < 0 then
      redis.call('JSON.SET', key, path, ARGV[i + 1])
    else
      redis.call('JSON.SET', key, path, ARGV[i + 1], 'NX')
    end
  end
end

if special then
  local latest = newest('')
  if latest and entry:sub(1, #latest + 1) == 'w' .. latest:sub(2) .. ':' then refresh_thread() end
end
return redis.status_reply('OK')
