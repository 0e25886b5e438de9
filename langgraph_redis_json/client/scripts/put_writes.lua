-- requires: thread_document, deadlines
-- Add a task's writes to the pending writes of a checkpoint.
-- ARGV[1] is the TTL (use_thread), ARGV[2] the entry of the pending writes, ARGV[3] the format of their
-- document; then come, for each write, the digest of its task with its index, and its JSON text.
-- Returns what use_thread() returns.
-- An ordinary write (index 0 and up) keeps its first value, a special write its last one: this is
-- LangGraph's contract.

local entry = ARGV[2]
local key = key_of(entry)

-- The beginning of a new document. The ids come from the entry, so that they are sent once.
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

-- The channels of special writes, by LangGraph's WRITES_IDX_MAP. The index reads the member
-- "special_channels", because to read all writes at each change would take longer with each task.
local SPECIAL = {
  ['-1'] = '"__error__"', ['-2'] = '"__scheduled__"', ['-3'] = '"__interrupt__"', ['-4'] = '"__resume__"',
}

-- A document that the table of contents does not name belongs to a thread that expired earlier.
local is_new = redis.call('ZADD', contents, 0, entry) == 1
local exists = not is_new and redis.call('EXISTS', key) == 1

-- The names of the writes that the document has: mostly none, which one question for all tells.
local stored = {}
if exists then
  local names = {}
  for i = 4, #ARGV, 2 do names[#names + 1] = '"' .. ARGV[i] .. '"' end
  local function has(these) return redis.call('JSON.TYPE', key, '$.writes[' .. these .. ']')[1] end
  if has(table.concat(names, ',')) then
    for i, name in ipairs(names) do stored[ARGV[2 * i + 2]] = has(name) end
  end
end

-- The pieces are joined once, because Lua hashes every string that a script makes.
local pieces, specials = {}, {}
for i = 4, #ARGV, 2 do
  local name, write = ARGV[i], ARGV[i + 1]
  local is_special = name:find(':-', 1, true)
  if is_special then specials[#specials + 1] = name end
  if exists and is_special then
    -- Its place tells that this is the last special write of the task.
    local path = '$.writes["' .. name .. '"]'
    if stored[name] then redis.call('JSON.DEL', key, path) end
    redis.call('JSON.SET', key, path, write)
  elseif not stored[name] then
    local n = #pieces
    pieces[n + 1], pieces[n + 2], pieces[n + 3], pieces[n + 4] = n == 0 and '"' or ',"', name, '":', write
  end
end
local channels, indexes = {}, {}
for _, name in ipairs(specials) do
  local index = name:match('-%d+$')
  if not indexes[index] then channels[#channels + 1] = '"' .. index .. '":' .. SPECIAL[index] end
  indexes[index] = true
end
local writes = '"writes":{' .. table.concat(pieces) .. '}'
if #channels > 0 then
  writes = writes .. ',"special_channels":{' .. table.concat(channels, ',') .. '}'
end
writes = writes .. '}'
if not exists then
  redis.call('JSON.SET', key, '$', head() .. writes)
elseif #pieces + #channels > 0 then
  -- One command for all, because the index reads the document after each command. (A merge would drop
  -- nulls, but ordinary writes are strings.)
  redis.call('JSON.MERGE', key, '$', '{' .. writes)
end

if #specials > 0 then
  local latest = newest('')
  if latest and entry == writes_of(latest) then update_status(specials) end
end
return use_thread(tonumber(ARGV[1]), { entry, 't' })
