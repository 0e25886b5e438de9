-- requires: nothing
-- Keys and entries of one thread. KEYS[1] is the key of its table of contents.

local contents = KEYS[1]
local brace = contents:find('{', 1, true) -- keys.py lets no other brace stand in a key
-- The saver's key prefix, and the thread with its braces.
local prefix, thread = contents:sub(1, brace - 1 - #'contents:'), contents:sub(brace)
local KINDS = {
  c = 'checkpoint', w = 'writes', b = 'blob', l = 'log', t = 'thread', m = 'message',
}
local AFTER_ALL = '\255' -- sorts after every entry

-- The key that an entry of the table of contents names. A marked entry (collect_garbage.lua) names
-- the key of the entry between the mark and the number. The entry d:… (deadlines.lua) names none.
local function key_of(entry)
  local kind = entry:sub(1, 1)
  if kind == 'x' then
    entry = entry:match('^x(.*) .-$')
    kind = entry:sub(1, 1)
  end
  return prefix .. (KINDS[kind] or 'no-key') .. ':' .. thread .. entry:sub(2)
end

-- The newest checkpoint's entry in an escaped namespace, or nil.
local function newest(namespace)
  local start = 'c:' .. namespace .. ':'
  return redis.call(
    'ZREVRANGEBYLEX', contents, '(' .. start .. AFTER_ALL, '[' .. start, 'LIMIT', 0, 1
  )[1]
end

-- For each entry a number if the table of contents has it, else false.
local function scores_of(entries)
  if #entries == 0 then return {} end
  if #entries <= 1000 then return redis.call('ZMSCORE', contents, unpack(entries)) end
  local found = {}
  for i, entry in ipairs(entries) do found[i] = redis.call('ZSCORE', contents, entry) end
  return found
end

-- What JSON.MGET gives for the documents of entries at a path; false for a document that is gone.
local function documents(entries, path)
  local found = {}
  for first = 1, #entries, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #entries) do keys[#keys + 1] = key_of(entries[i]) end
    keys[#keys + 1] = path or '.'
    for _, document in ipairs(redis.call('JSON.MGET', unpack(keys))) do
      found[#found + 1] = document
    end
  end
  return found
end

-- How many items a log has, -1 if there is no such log.
local function length_of(entry)
  local found = redis.pcall('JSON.ARRLEN', key_of(entry), '$.items')
  return type(found) == 'table' and not found.err and found[1] or -1
end

-- The entry of a checkpoint's pending writes.
local function writes_of(entry) return 'w' .. entry:sub(2) end
