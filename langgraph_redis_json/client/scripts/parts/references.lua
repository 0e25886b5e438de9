-- requires: contents, escaping
-- Checkpoints: what they refer to, and their parents.

local MOST_READ = 4000000 -- bytes after which a call reads no further checkpoint: other clients wait

local BLOB, LOG = prefix .. 'blob:' .. thread, prefix .. 'log:' .. thread

-- The entry of the blob or log at a key to which a checkpoint refers; nil for anything else, which
-- somebody has altered: the saver reports it when it loads the checkpoint.
local function entry_of(key)
  if type(key) ~= 'string' then return nil end
  if key:sub(1, #BLOB) == BLOB then return 'b' .. key:sub(#BLOB + 1) end
  if key:sub(1, #LOG) == LOG then return 'l' .. key:sub(#LOG + 1) end
end

-- Whether the text of a checkpoint may have references: it has the beginning of their keys. (JSON spells
-- some characters in another way.)
local IS_PLAIN = not BLOB:find('["\\%c]')
local function may_refer(document)
  return not IS_PLAIN or document:find(BLOB, 1, true) or document:find(LOG, 1, true)
end

-- The references of a checkpoint: entries of blobs, and slices of logs, {entry, start, stop}.
-- Takes what JSON.GET gave for '$.channel_values.*.blob' and '$.channel_values.*.log'.
local REFERENCES = { '$.channel_values.*.blob', '$.channel_values.*.log' }
local function references_of(entry)
  local blobs, slices = {}, {}
  local found = redis.call('JSON.GET', key_of(entry), unpack(REFERENCES))
  if not found then return blobs, slices end
  found = cjson.decode(found)
  for _, key in ipairs(found[REFERENCES[1]]) do
    blobs[#blobs + 1] = entry_of(key)
  end
  for _, list in ipairs(found[REFERENCES[2]]) do
    for _, slice in ipairs(type(list) == 'table' and list or {}) do
      local log = type(slice) == 'table' and entry_of(slice[1])
      if log and type(slice[2]) == 'number' and type(slice[3]) == 'number' then
        slices[#slices + 1] = { log, slice[2], slice[3] }
      end
    end
  end
  return blobs, slices
end

-- Add slices to the ranges of logs, {entry = {{start, stop}, …}, …}.
local function add_slices(ranges, slices)
  for _, slice in ipairs(slices) do
    ranges[slice[1]] = ranges[slice[1]] or {}
    table.insert(ranges[slice[1]], { slice[2], slice[3] })
  end
end

-- Ranges in order. Ranges that overlap, or lie no further apart than a gap, become one.
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

-- Read ranges of logs: {{entry, start, length of the log, format and items as JSON}, …}. The last
-- one is false if it cannot be read.
local function read_logs(wanted)
  local found = {}
  for entry, ranges in pairs(wanted) do
    local length = length_of(entry)
    -- A few items more are cheaper than another command.
    for _, range in ipairs(merged(ranges, 8)) do
      local path = ('$.items[%d:%d]'):format(range[1], range[2])
      local text = redis.pcall('JSON.GET', key_of(entry), '$.format', path)
      if type(text) ~= 'string' then text = false end
      found[#found + 1] = { entry, range[1], length, text }
    end
  end
  return found
end

-- The entry of a checkpoint's parent; false if it has none.
local function parent_of(entry)
  local found = redis.call('JSON.GET', key_of(entry), '$.parent_checkpoint_id')
  local id = found and cjson.decode(found)[1]
  return type(id) == 'string' and entry:match('^(.*:)') .. escape(id)
end

-- A checkpoint with its pending writes: {entry, document, writes, whether the table of contents names
-- the checkpoint, whether it names the writes, its parent's writes if its tasks are among them}. A
-- document that is gone is false.
local function row_of(entry)
  local both = { entry, writes_of(entry) }
  local found, scores = documents(both), scores_of(both)
  -- Writes that the table of contents does not name belong to a thread that expired earlier.
  local writes = scores[2] and found[2]
  local parent_writes = false
  if found[1] and found[1]:find('"tasks_in_parent":true,', 1, true) then
    local of_parent = writes_of(parent_of(entry) or entry)
    parent_writes = redis.call('ZSCORE', contents, of_parent) and documents({ of_parent })[1]
  end
  return { entry, found[1], writes, scores[1] and 1 or 0, scores[2] and 1 or 0, parent_writes }
end
