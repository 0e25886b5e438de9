-- Add writes to a checkpoint's pending writes.
-- ARGV[1] is the TTL as use() takes it, ARGV[2] their entry, ARGV[3] the format of their document;
-- then come the digest of the task with the index of the write, and the write, …
-- Returns what use() returns.
-- An ordinary write (index 0 and up) keeps the first value, a special one the last.

local entry = ARGV[2]
local key = key_of(entry)
local special = false

-- The document up to the writes. Its ids come from its names: a step so sends them once.
local CHARACTERS = {
  [';.'] = ':', [';;'] = ';', ['|('] = '{', ['||'] = '|', ['~)'] = '}', ['~~'] = '~',
  ['\1\1'] = '\0', ['\1\2'] = '\1',
}
local function as_json(part) return cjson.encode((part:gsub('[;|~\1].', CHARACTERS))) end
local function head()
  local namespace, id = entry:match('^w:(.*):(.*)$')
  return ('{"format":%s,"thread_id":%s,"checkpoint_ns":%s,"checkpoint_id":%s,'):format(
    ARGV[3], thread == '{~}' and '""' or as_json(thread:sub(2, -2)), as_json(namespace), as_json(id)
  )
end

-- A document that is not named is of a thread that vanished before.
local is_new = redis.call('ZADD', contents, 0, entry) == 1
local is_there = not is_new and redis.call('EXISTS', key) == 1
local writes = {}
for i = 4, #ARGV, 2 do
  local name, write = ARGV[i], ARGV[i + 1]
  local ordinary = not name:find(':-', 1, true)
  special = special or not ordinary
  local path = '$.writes["' .. name .. '"]'
  if is_there and not ordinary then
    redis.call('JSON.SET', key, path, write)
  elseif not is_there or not redis.call('JSON.TYPE', key, path)[1] then
    writes[#writes + 1] = '"' .. name .. '":' .. write
  end
end
local text = '"writes":{' .. table.concat(writes, ',') .. '}}'
if not is_there then
  redis.call('JSON.SET', key, '$', head() .. text)
elseif #writes > 0 then
  -- All at once: the index looks at the whole document after each command. (A merge would drop
  -- nulls, but ordinary writes are texts.)
  redis.call('JSON.MERGE', key, '$', '{' .. text)
end

if special then
  local latest = newest('')
  if latest and entry == writes_of(latest) then refresh_thread() end
end
return use(tonumber(ARGV[1]), { entry, 't' })
