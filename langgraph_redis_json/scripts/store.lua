-- Store documents of one thread, all or none.
-- ARGV[3] is how many entries follow that must be there already; then comes how many pairs of
-- entry and JSON member follow, of blobs that the last document refers to if they are there;
-- then come the documents: entry, document, …
-- Returns the entries that are not there: if there are any, nothing is stored.

local at = 3
local function take()
  at = at + 1
  return ARGV[at - 1]
end

local missing = {}
for _ = 1, tonumber(take()) do
  local entry = take()
  if redis.call('EXISTS', key_of(entry)) == 0 then missing[#missing + 1] = entry end
end
if #missing > 0 then return missing end

local inherited = {}
for _ = 1, tonumber(take()) do
  local entry, member = take(), take()
  if redis.call('EXISTS', key_of(entry)) == 1 then inherited[#inherited + 1] = member end
end

local root = false
while at <= #ARGV do
  local entry, document = take(), take()
  if at > #ARGV and #inherited > 0 then
    -- The last member of a checkpoint is its channel values.
    local comma = document:sub(-3) == '{}}' and '' or ','
    document = document:sub(1, -3) .. comma .. table.concat(inherited, ',') .. '}}'
  end
  redis.call('ZADD', contents, 0, entry)
  redis.call('JSON.SET', key_of(entry), '$', document)
  if entry:sub(1, 3) == 'c::' then root = true end
end
if root then refresh_thread() end
return missing
