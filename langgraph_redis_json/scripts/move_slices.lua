-- Let checkpoints refer to another log with the same items.
-- ARGV[1] is the old log, ARGV[2] the new one, ARGV[3] its length, ARGV[4] a JSON array of ranges
-- {start, stop, where it begins in the new one}; then come the checkpoints' entries.
-- Does nothing if the new log is not there whole. Returns how many lists were changed.

local old, new = ARGV[1], ARGV[2]
if not redis.call('ZSCORE', contents, new) or length_of(new) < tonumber(ARGV[3]) then return 0 end
local ranges = cjson.decode(ARGV[4])
local found = redis.call('JSON.GET', key_of(new), '$.channel')
local channel = cjson.encode(cjson.decode(found)[1])

local count = 0
local function moved(slice)
  if
    type(slice) ~= 'table' or slice[1] ~= old
    or type(slice[2]) ~= 'number' or type(slice[3]) ~= 'number'
  then
    return slice
  end
  for _, range in ipairs(ranges) do
    if range[1] <= slice[2] and slice[3] <= range[2] then
      local by = range[3] - range[1]
      return { new, slice[2] + by, slice[3] + by }
    end
  end
  return slice
end

for i = 5, #ARGV do
  local lists = redis.call('JSON.GET', key_of(ARGV[i]), '$.channel_values.*.log')
  for _, list in ipairs(lists and cjson.decode(lists) or {}) do
    local slices, changed = {}, false
    for j, slice in ipairs(type(list) == 'table' and list or {}) do
      slices[j] = moved(slice)
      changed = changed or slices[j] ~= slice
    end
    if changed then
      count = count + 1
      -- A merge needs no JSONPath, which not every channel's name can be spelled in.
      local patch = '{"channel_values":{' .. channel .. ':{"log":' .. cjson.encode(slices) .. '}}}'
      redis.call('JSON.MERGE', key_of(ARGV[i]), '$', patch)
    end
  end
end
return count
