-- Deleting keys with their entries.

-- Delete the table of contents, too, when all that it says is when the thread is to vanish.
local function close()
  local left = redis.call('ZRANGEBYLEX', contents, '-', '+', 'LIMIT', 0, 2)
  if #left == 1 and left[1]:sub(1, 2) == 'd:' then redis.call('UNLINK', contents) end
end

local function forget_all(names)
  for first = 1, #names, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #names) do keys[#keys + 1] = key_of(names[i]) end
    redis.call('UNLINK', unpack(keys))
    redis.call('ZREM', contents, unpack(names, first, first + #keys - 1))
  end
end
