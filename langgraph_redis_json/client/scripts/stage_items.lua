-- requires: staging
-- Add items to a log that is imported. (parts/staging.lua)
-- ARGV[1] is its entry, ARGV[2] how many items it must have, ARGV[3] how many it gets in all, ARGV[4] the
-- SHA-1 of the array of the new items; then come these.
-- Returns 1; the new items as the server gives them back, if their SHA-1 is another; false, and adds
-- nothing, if the thread exists or the log is not as long as it must be.

local entry, start = ARGV[1], tonumber(ARGV[2])
local deadline = redis.call('PEXPIRETIME', staging)
if redis.call('ZSCORE', staging, entry) then return 1 end -- an earlier import has stored all of it
if deadline < 0 or redis.call('EXISTS', contents) == 1 or length_of(entry) ~= start then return false end
for first = 5, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  redis.call('JSON.ARRAPPEND', key_of(entry), '$.items', unpack(ARGV, first, last))
end
if length_of(entry) == tonumber(ARGV[3]) then
  redis.call('ZREM', staging, 'p' .. entry)
  redis.call('ZADD', staging, 0, entry)
  set_deadline(key_of(entry), deadline)
end
local stored = redis.call('JSON.GET', key_of(entry), ('$.items[%d:]'):format(start))
return redis.sha1hex(stored) == ARGV[4] and 1 or stored
