-- Shared by every script; put in front of each. KEYS[1] is the thread's table of contents,
-- ARGV[1] the saver's key prefix with its colon, ARGV[2] the thread with its braces.

local contents = KEYS[1]
local prefix, thread = ARGV[1], ARGV[2]
local KINDS = {
  c = 'checkpoint', w = 'checkpoint_write', b = 'checkpoint_blob', l = 'checkpoint_log',
  t = 'checkpoint_thread',
}
local LAST = '\255'

-- The key that an entry of the table of contents names. sweep.lua puts an x in front of some.
local function key_of(entry)
  if entry:sub(1, 1) == 'x' then entry = entry:sub(2) end
  return prefix .. KINDS[entry:sub(1, 1)] .. ':' .. thread .. entry:sub(2)
end

-- One part of a name, as keys.escape spells it.
local SPELLING = {
  [':'] = ';.', [';'] = ';;', ['{'] = '|(', ['|'] = '||', ['}'] = '~)', ['~'] = '~~',
  ['\0'] = '\1\1', ['\1'] = '\1\2',
}
local function escape(part) return (part:gsub('[:;{|}~%z\1]', SPELLING)) end

-- The entries that begin with a text, in order.
local function entries(start)
  return redis.call('ZRANGEBYLEX', contents, '[' .. start, '(' .. start .. LAST)
end

-- The newest checkpoint's entry in an escaped namespace, or nil.
local function newest(namespace)
  local start = 'c:' .. namespace .. ':'
  return redis.call(
    'ZREVRANGEBYLEX', contents, '(' .. start .. LAST, '[' .. start, 'LIMIT', 0, 1
  )[1]
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

-- What a checkpoint refers to: entries of blobs, and slices of logs, {entry, start, stop}; of the
-- list alone that has slices of one log, if that is given.
-- What else stands there was altered by hand; whoever loads the checkpoint will say so.
local function references_of(entry, only)
  local blobs, slices = {}, {}
  local found = redis.call(
    'JSON.GET', key_of(entry), '$.channel_values.*.blob', '$.channel_values.*.log'
  )
  if not found then return blobs, slices end
  found = cjson.decode(found)
  for _, blob in ipairs(found['$.channel_values.*.blob']) do
    if type(blob) == 'string' and blob:sub(1, 2) == 'b:' then blobs[#blobs + 1] = blob end
  end
  for _, list in ipairs(found['$.channel_values.*.log']) do
    local wanted, part = only == nil, {}
    for _, slice in ipairs(type(list) == 'table' and list or {}) do
      if
        type(slice) == 'table' and type(slice[1]) == 'string' and slice[1]:sub(1, 2) == 'l:'
        and type(slice[2]) == 'number' and type(slice[3]) == 'number'
      then
        part[#part + 1] = slice
        wanted = wanted or slice[1] == only
      end
    end
    if wanted then
      for _, slice in ipairs(part) do slices[#slices + 1] = slice end
    end
  end
  return blobs, slices
end

-- How many items a log has, -1 if it is none.
local function length_of(entry)
  local found = redis.pcall('JSON.ARRLEN', key_of(entry), '$.items')
  return type(found) == 'table' and not found.err and found[1] or -1
end

-- Add slices to the ranges of logs, {entry = {{start, stop}, …}, …}.
local function want(ranges, slices)
  for _, slice in ipairs(slices) do
    ranges[slice[1]] = ranges[slice[1]] or {}
    table.insert(ranges[slice[1]], { slice[2], slice[3] })
  end
end

-- Ranges in order, those that overlap or lie no further apart than a gap as one.
local function merged(ranges, gap)
  table.sort(ranges, function(left, right) return left[1] < right[1] end)
  local found = {}
  for _, range in ipairs(ranges) do
    local last = found[#found]
    if last and range[1] <= last[2] + gap then
      last[2] = math.max(last[2], range[2])
    else
      found[#found + 1] = { range[1], range[2] }
    end
  end
  return found
end

-- The ranges of logs: {entry, start, length of the log, format and items as JSON, …}; what cannot
-- be read is nil.
local function logged(wanted)
  local found = {}
  for entry, ranges in pairs(wanted) do
    local length = length_of(entry)
    -- A few items more are cheaper than another command.
    for _, range in ipairs(merged(ranges, 8)) do
      local path = ('$.items[%d:%d]'):format(range[1], range[2])
      local text = redis.pcall('JSON.GET', key_of(entry), '$.format', path)
      if type(text) ~= 'string' then text = false end
      for _, part in ipairs({ entry, range[1], length, text }) do found[#found + 1] = part end
    end
  end
  return found
end

-- The pending writes of a checkpoint.
local function writes_of(entry) return entries('w' .. entry:sub(2) .. ':') end

-- The same with their documents, false for one that is gone: {entry, document, …}.
local function written(entry)
  local found = {}
  local names = writes_of(entry)
  if #names == 0 then return found end
  for i, document in ipairs(documents(names)) do
    found[#found + 1] = names[i]
    found[#found + 1] = document
  end
  return found
end

local function forget(entry)
  redis.call('UNLINK', key_of(entry))
  redis.call('ZREM', contents, entry)
end

local function forget_all(names)
  for first = 1, #names, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #names) do keys[#keys + 1] = key_of(names[i]) end
    redis.call('UNLINK', unpack(keys))
    redis.call('ZREM', contents, unpack(names, first, first + #keys - 1))
  end
end

local function has_write(names, index)
  for _, name in ipairs(names) do
    local found = redis.call('JSON.TYPE', key_of(name), '$.writes["' .. index .. '"]')
    if found and found[1] then return true end
  end
  return false
end

-- Write the thread's document anew from its newest root checkpoint and that one's writes,
-- so that it is right in whatever order they arrived.
local function refresh_thread()
  local entry = newest('')
  local key = entry and key_of(entry)
  if not entry or redis.call('EXISTS', key) == 0 then return forget('t') end
  local writes = writes_of(entry)
  local status = 'idle'
  if has_write(writes, -1) then status = 'error' end
  if has_write(writes, -3) then status = 'interrupted' end
  local now = redis.call('TIME')
  local fields = {
    '"status":"' .. status .. '"',
    '"updated_at":' .. now[1] .. ('%03d'):format(math.floor(now[2] / 1000)),
  }
  local names = {
    'format', 'thread_id', 'checkpoint_id', 'created_at', 'source', 'step', 'run_id',
  }
  local paths = {}
  for i, name in ipairs(names) do paths[i] = '$.' .. name end
  local text = redis.call('JSON.GET', key, unpack(paths))
  local plain = cjson.decode(text)
  for i, name in ipairs(names) do
    local value = plain[paths[i]][1]
    -- A number as it was written: Lua's have no more than 53 bits.
    value = type(value) == 'string' and cjson.encode(value)
      or text:match('"%$%.' .. name .. '":%[(%-?%d+)%]')
    if value then fields[#fields + 1] = '"' .. name .. '":' .. value end
  end
  for _, name in ipairs({ 'metadata', 'tokens' }) do
    local found = redis.call('JSON.GET', key, '$.' .. name)
    if found ~= '[]' then fields[#fields + 1] = '"' .. name .. '":' .. found:sub(2, -2) end
  end
  redis.call('ZADD', contents, 0, 't')
  redis.call('JSON.SET', key_of('t'), '$', '{' .. table.concat(fields, ',') .. '}')
end
