-- requires: contents
-- Delete keys together with their entries.

local function delete_all(entries)
  for first = 1, #entries, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #entries) do keys[#keys + 1] = key_of(entries[i]) end
    redis.call('UNLINK', unpack(keys))
    redis.call('ZREM', contents, unpack(entries, first, first + #keys - 1))
  end
end

-- Delete the table of contents if nothing but a pending deadline is left in it.
local function delete_empty_contents()
  local left = redis.call('ZRANGEBYLEX', contents, '-', '+', 'LIMIT', 0, 2)
  if #left == 1 and left[1]:sub(1, 2) == 'd:' then redis.call('UNLINK', contents) end
end
