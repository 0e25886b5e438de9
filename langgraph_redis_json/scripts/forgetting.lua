-- Deleting keys with their entries.

local function forget_all(names)
  for first = 1, #names, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #names) do keys[#keys + 1] = key_of(names[i]) end
    redis.call('UNLINK', unpack(keys))
    redis.call('ZREM', contents, unpack(names, first, first + #keys - 1))
  end
end
