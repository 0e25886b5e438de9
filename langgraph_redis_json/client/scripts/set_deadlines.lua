-- requires: deadlines
-- Give the documents whose entries start at ARGV[2] the deadline ARGV[1] (-1 for none; "thread" for the
-- one that the thread has or is about to get). Returns how many of them exist.

local deadline = tonumber(ARGV[1])
if not deadline then deadline = pending_deadline() or redis.call('PEXPIRETIME', contents) end
local found = 0
for i = 2, #ARGV do
  local key = key_of(ARGV[i])
  found = found + redis.call('EXISTS', key)
  set_deadline(key, deadline)
end
return found
