-- requires: contents
-- The log whose entry is ARGV[1], without its items: {how many items it has, its document with an empty
-- list of items}; {-1} if there is no such log.

local log = ARGV[1]
local length, members = length_of(log), {}
if length < 0 then return { -1 } end
for _, name in ipairs(redis.call('JSON.OBJKEYS', key_of(log), '.')) do
  local value = '[]'
  if name ~= 'items' then value = redis.call('JSON.GET', key_of(log), '["' .. name .. '"]') end
  members[#members + 1] = cjson.encode(name) .. ':' .. value
end
return { length, '{' .. table.concat(members, ',') .. '}' }
