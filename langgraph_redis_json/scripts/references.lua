-- What checkpoints refer to. Shared by the scripts that read them.

local MOST_READ = 4000000 -- bytes after which a call reads no further checkpoint: others wait for it

-- What a checkpoint refers to: entries of blobs, and slices of logs, {entry, start, stop}.
-- What else stands there was altered by hand; whoever loads the checkpoint will say so.
local function references_of(entry)
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
    for _, slice in ipairs(type(list) == 'table' and list or {}) do
      if
        type(slice) == 'table' and type(slice[1]) == 'string' and slice[1]:sub(1, 2) == 'l:'
        and type(slice[2]) == 'number' and type(slice[3]) == 'number'
      then
        slices[#slices + 1] = slice
      end
    end
  end
  return blobs, slices
end

-- The same from the document's text, without another command; perhaps with more than it refers to,
-- where a value of the user's looks like a reference.
local function references_in(document, entry)
  local blobs, slices = {}, {}
  local at = document:find('"blob":"b:', 1, true)
  while at do
    local blob = document:match('^"blob":"(b:[^"\\]*)"', at)
    if not blob then return references_of(entry) end -- a name that JSON spells with a backslash
    blobs[#blobs + 1] = blob
    at = document:find('"blob":"b:', at + 1, true)
  end
  at = document:find('["l:', 1, true)
  while at do
    local log, start, stop = document:match('^%["(l:[^"\\]*)",(%d+),(%d+)%]', at)
    if not log then return references_of(entry) end
    slices[#slices + 1] = { log, tonumber(start), tonumber(stop) }
    at = document:find('["l:', at + 1, true)
  end
  return blobs, slices
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

-- Checkpoints with their pending writes: {entry, document, writes, whether the table of contents
-- names the checkpoint, whether it names the writes}, … What is gone is nil.
local function rows_of(wanted)
  local names, rows = {}, {}
  for _, entry in ipairs(wanted) do
    names[#names + 1] = entry
    names[#names + 1] = writes_of(entry)
  end
  local found = #names > 0 and documents(names) or {}
  -- A document may outlive its thread for a while: lifetimes.lua. Then it is not there.
  local scores = scores_of(names)
  for i = 1, #names, 2 do
    -- A document that is not named is of a thread that vanished before.
    local writes = scores[i + 1] and found[i + 1]
    rows[#rows + 1] =
      { names[i], found[i], writes, scores[i] and 1 or 0, scores[i + 1] and 1 or 0 }
  end
  return rows
end
