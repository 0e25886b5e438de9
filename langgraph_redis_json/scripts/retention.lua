-- Keeping the newest checkpoints of a namespace alone.

local MOST_OLD = 64 -- older checkpoints that one call looks through

-- What stands in each entry's document at a path: a list, empty for what is not there.
local function values_at(path, names)
  local found = {}
  for first = 1, #names, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #names) do keys[#keys + 1] = key_of(names[i]) end
    keys[#keys + 1] = path
    for _, text in ipairs(redis.call('JSON.MGET', unpack(keys))) do
      found[#found + 1] = text and cjson.decode(text) or {}
    end
  end
  return found
end

-- Add the ancestors from which the delta channels of checkpoints are rebuilt to the needed ones:
-- for each channel all, back to the nearest one that has its value.
local function add_ancestors(start, checkpoints, needed)
  local seen = {}
  local function lineage(entry)
    if not seen[entry] then
      local parent = values_at('$.parent_checkpoint_id', { entry })[1][1]
      local values = values_at('$.channel_values', { entry })[1][1]
      seen[entry] = {
        type(parent) == 'string' and start .. escape(parent) or false,
        type(values) == 'table' and values or {},
      }
    end
    return unpack(seen[entry])
  end
  local walked = {}
  for i, channels in ipairs(values_at('$.delta_channels', checkpoints)) do
    for _, channel in ipairs(type(channels[1]) == 'table' and channels[1] or {}) do
      local at, values = lineage(checkpoints[i])
      while at and values[channel] == nil and not walked[channel .. ':' .. at] do
        walked[channel .. ':' .. at] = true
        needed[at] = true
        at, values = lineage(at)
      end
    end
  end
end

-- Delete the checkpoints of the namespace of a new one that are older than its newest so many, but
-- for the new one and what delta channels need; and the blobs and logs that only they referred to.
-- Returns whether there are too many for one call, and the logs more than half of whose items are
-- dead now.
retain = function(keep, new)
  local start = new:match('^c:[^:]*:')
  local stop = '(' .. start .. LAST
  local old = redis.call('ZLEXCOUNT', contents, '[' .. start, stop) - keep
  if old <= 0 then return false, {} end
  -- Ancestors that delta channels need stay, and would be walked each time: the more there are, the
  -- more seldom.
  local has_deltas = ARGV[#ARGV]:find('"delta_channels":', 1, true)
  if has_deltas and old % 2 ^ math.max(0, math.floor(math.log(old / 4) / math.log(2))) ~= 0 then
    return false, {}
  end
  if old > MOST_OLD then return true, {} end

  local kept = redis.call('ZREVRANGEBYLEX', contents, stop, '[' .. start, 'LIMIT', 0, keep)
  local gone, forgotten = {}, {}
  -- LangGraph does not wait for writes: some come when their checkpoint is gone.
  local late = redis.call(
    'ZRANGEBYLEX', contents, '[' .. writes_of(start), '(' .. writes_of(kept[#kept]),
    'LIMIT', 0, 1000
  )
  for _, writes in ipairs(late) do
    if not redis.call('ZSCORE', contents, 'c' .. writes:sub(2)) then
      forgotten[#forgotten + 1] = writes
    end
  end
  local needed = { [new] = true }
  add_ancestors(start, { new }, needed)
  add_ancestors(start, kept, needed)
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', contents, '[' .. start, stop, 'LIMIT', 0, old)) do
    if needed[entry] then
      kept[#kept + 1] = entry
    else
      gone[#gone + 1] = entry
      forgotten[#forgotten + 1] = entry
      forgotten[#forgotten + 1] = writes_of(entry)
    end
  end
  if #forgotten == 0 then return false, {} end

  -- What they refer to, the oldest that is left mostly refers to as well.
  local blobs, slices = references_of(kept[#kept])
  local there = {}
  for _, blob in ipairs(blobs) do there[blob] = true end
  local function covered(slice)
    for _, other in ipairs(slices) do
      if other[1] == slice[1] and other[2] <= slice[2] and slice[3] <= other[3] then return true end
    end
    return false
  end
  local doubtful, ranges = {}, {}
  for _, entry in ipairs(gone) do
    local own, parts = references_of(entry)
    for _, blob in ipairs(own) do
      if not there[blob] then doubtful[blob] = true end
    end
    for _, slice in ipairs(parts) do
      if not covered(slice) then ranges[slice[1]] = {} end
    end
  end
  local worn = {}
  if next(doubtful) or next(ranges) then
    for _, entry in ipairs(kept) do
      local own, parts = references_of(entry)
      for _, blob in ipairs(own) do doubtful[blob] = nil end
      for _, slice in ipairs(parts) do
        if ranges[slice[1]] then want(ranges, { slice }) end
      end
    end
    for blob in pairs(doubtful) do forgotten[#forgotten + 1] = blob end
    for log, living in pairs(ranges) do
      local count = 0
      for _, range in ipairs(merged(living, 0)) do count = count + range[2] - range[1] end
      if count == 0 then
        forgotten[#forgotten + 1] = log
      elseif length_of(log) > 2 * count then
        worn[#worn + 1] = log
      end
    end
  end
  forget_all(forgotten)
  return false, worn
end
