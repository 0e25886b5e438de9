-- requires: staging
-- Let the table of contents name documents again whose entries ARGV has, if they exist and no import is
-- storing them. Returns how many it did not name.

local existed, deadline, count = redis.call('EXISTS', contents) == 1, nil, 0
if existed then deadline = pending_deadline() or redis.call('PEXPIRETIME', contents) end
for _, entry in ipairs(ARGV) do
  local key = key_of(entry)
  if redis.call('EXISTS', key) == 1 and not is_staged(entry) then
    count = count + redis.call('ZADD', contents, 0, entry)
    if deadline then set_deadline(key, deadline) end
  end
end
return count
