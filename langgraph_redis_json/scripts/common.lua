-- Shared by every script; put in front of each. KEYS[1] is the thread's table of contents.

local contents = KEYS[1]
local brace = contents:find('{', 1, true) -- keys.py lets no other one stand in a key
-- The saver's key prefix with its colon, and the thread with its braces.
local prefix, thread = contents:sub(1, brace - 1 - #'checkpoint_keys:'), contents:sub(brace)
local KINDS = {
  c = 'checkpoint', w = 'checkpoint_write', b = 'checkpoint_blob', l = 'checkpoint_log',
  t = 'checkpoint_thread', d = 'checkpoint_deadline', -- which is no key
}
local LAST = '\255'
local retain -- of retention.lua, which few calls need

-- The key that an entry of the table of contents names. sweep.lua puts an x in front of some.
local function key_of(entry)
  if entry:sub(1, 1) == 'x' then entry = entry:match('^x(.*) .-$') end
  return prefix .. KINDS[entry:sub(1, 1)] .. ':' .. thread .. entry:sub(2)
end

-- The newest checkpoint's entry in an escaped namespace, or nil.
local function newest(namespace)
  local start = 'c:' .. namespace .. ':'
  return redis.call(
    'ZREVRANGEBYLEX', contents, '(' .. start .. LAST, '[' .. start, 'LIMIT', 0, 1
  )[1]
end

-- Which entries the table of contents has: a number for each that it has, false for another.
local function scores_of(names)
  if #names <= 1000 then return #names > 0 and redis.call('ZMSCORE', contents, unpack(names)) or {} end
  local found = {}
  for i, entry in ipairs(names) do found[i] = redis.call('ZSCORE', contents, entry) end
  return found
end

-- Name entries in the table of contents.
local function name_all(names)
  for first = 1, #names, 1000 do
    local members = {}
    for i = first, math.min(first + 999, #names) do
      members[#members + 1] = 0
      members[#members + 1] = names[i]
    end
    redis.call('ZADD', contents, unpack(members))
  end
end

-- The documents of entries, false for those that are gone.
local function documents(names)
  local found = {}
  for first = 1, #names, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #names) do keys[#keys + 1] = key_of(names[i]) end
    keys[#keys + 1] = '.'
    for _, document in ipairs(redis.call('JSON.MGET', unpack(keys))) do
      found[#found + 1] = document
    end
  end
  return found
end

-- How many items a log has, -1 if it is none.
local function length_of(entry)
  local found = redis.pcall('JSON.ARRLEN', key_of(entry), '$.items')
  return type(found) == 'table' and not found.err and found[1] or -1
end

local function forget(entry)
  redis.call('UNLINK', key_of(entry))
  redis.call('ZREM', contents, entry)
end

-- The entry of a checkpoint's pending writes.
local function writes_of(entry) return 'w' .. entry:sub(2) end
