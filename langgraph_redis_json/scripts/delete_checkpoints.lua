-- Delete the checkpoints whose entries follow from ARGV[3] on, with their pending writes, and with
-- the blobs, logs and items of logs that no other checkpoint refers to.

for i = 3, #ARGV do
  forget(writes_of(ARGV[i]))
  forget(ARGV[i])
end

local needed, living, holders = {}, {}, {}
for _, entry in ipairs(entries('c:')) do
  local blobs, slices = references_of(entry)
  for _, blob in ipairs(blobs) do needed[blob] = true end
  want(living, slices)
  for _, slice in ipairs(slices) do
    needed[slice[1]] = true
    holders[slice[1]] = holders[slice[1]] or {}
    holders[slice[1]][entry] = true
  end
end
for _, kind in ipairs({ 'b:', 'l:' }) do
  for _, entry in ipairs(entries(kind)) do
    if not needed[entry] then forget(entry) end
  end
end

-- The name of a log that is written anew: with a number at its end that counts up. What a saver
-- remembers of the old one must not fit it.
local function renamed(log)
  local name, count = log:match('^(.*)%.(%d+)$')
  return (name or log) .. '.' .. (count or 0) + 1
end

-- Write a log anew with its living items alone, and let its checkpoints refer to that.
local function compact(log, ranges)
  local key, new = key_of(log), renamed(log)
  local items, starts, length = {}, {}, 0
  for _, range in ipairs(ranges) do
    local path = ('$.items[%d:%d]'):format(range[1], range[2])
    items[#items + 1] = redis.call('JSON.GET', key, path):sub(2, -2)
    starts[#starts + 1] = { range[1], range[2], length }
    length = length + range[2] - range[1]
  end
  local fields = {}
  for _, name in ipairs({ 'format', 'thread_id', 'checkpoint_ns', 'channel' }) do
    fields[#fields + 1] = '"' .. name .. '":' .. redis.call('JSON.GET', key, '$.' .. name):sub(2, -2)
  end
  fields[#fields + 1] = '"items":[' .. table.concat(items, ',') .. ']'
  redis.call('ZADD', contents, 0, new)
  redis.call('JSON.SET', key_of(new), '$', '{' .. table.concat(fields, ',') .. '}')
  local channel = cjson.encode(cjson.decode(redis.call('JSON.GET', key, '$.channel'))[1])
  for entry in pairs(holders[log]) do
    local _, slices = references_of(entry, log)
    for _, slice in ipairs(slices) do
      for _, start in ipairs(starts) do
        if slice[1] == log and start[1] <= slice[2] and slice[3] <= start[2] then
          local moved = start[3] - start[1]
          slice[1], slice[2], slice[3] = new, slice[2] + moved, slice[3] + moved
        end
      end
    end
    -- A merge needs no JSONPath, which not every channel's name can be spelled in.
    local patch = '{"channel_values":{' .. channel .. ':{"log":' .. cjson.encode(slices) .. '}}}'
    redis.call('JSON.MERGE', key_of(entry), '$', patch)
  end
  forget(log)
end

for log, ranges in pairs(living) do
  local found, count = merged(ranges, 0), 0
  for _, range in ipairs(found) do count = count + range[2] - range[1] end
  if length_of(log) > 2 * count then compact(log, found) end
end

refresh_thread()
return redis.status_reply('OK')
