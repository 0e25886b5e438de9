-- Delete the checkpoints whose entries follow from ARGV[3] on, with their pending writes and
-- with the blobs that no other checkpoint refers to.

for i = 3, #ARGV do
  for _, write in ipairs(writes_of(ARGV[i])) do forget(write) end
  forget(ARGV[i])
end

local needed = {}
for _, entry in ipairs(entries('c:')) do
  for _, blob in ipairs(blobs_of(entry)) do needed[blob] = true end
end
for _, blob in ipairs(entries('b:')) do
  if not needed[blob] then forget(blob) end
end
refresh_thread()
return redis.status_reply('OK')
