-- Delete the checkpoints whose entries follow from ARGV[3] on, with their pending writes, and with
-- the blobs, logs and items of logs that no other checkpoint refers to.

for i = 3, #ARGV do
  for _, write in ipairs(writes_of(ARGV[i])) do forget(write) end
  forget(ARGV[i])
end

local needed = {}
for _, entry in ipairs(entries('c:')) do
  local blobs, slices = references_of(entry)
  for _, blob in ipairs(blobs) do needed[blob] = true end
  for _, slice in ipairs(slices) do needed[slice[1]] = true end
end
for _, kind in ipairs({ 'b:', 'l:' }) do
  for _, entry in ipairs(entries(kind)) do
    if not needed[entry] then forget(entry) end
  end
end
refresh_thread()
return redis.status_reply('OK')
