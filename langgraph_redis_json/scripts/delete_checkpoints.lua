-- Delete the checkpoints whose entries follow from ARGV[1] on, with their pending writes.
-- What they refer to stays: sweep.lua frees it.

local gone, root = {}, false
for i = 1, #ARGV do
  gone[#gone + 1] = ARGV[i]
  gone[#gone + 1] = writes_of(ARGV[i])
  root = root or ARGV[i]:sub(1, 3) == 'c::'
end
forget_all(gone)
if root then refresh_thread() end
close()
return redis.status_reply('OK')
