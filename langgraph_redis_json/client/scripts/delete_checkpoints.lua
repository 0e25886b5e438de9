-- requires: thread_document, deletion
-- Delete checkpoints, whose entries ARGV has, with their pending writes. Blobs and logs stay:
-- collect_garbage.lua deletes those.

local entries, has_root = {}, false
for _, entry in ipairs(ARGV) do
  entries[#entries + 1] = entry
  entries[#entries + 1] = writes_of(entry)
  has_root = has_root or entry:sub(1, 3) == 'c::'
end
delete_all(entries)
if has_root then rebuild_thread_document() end
delete_empty_contents()
return redis.status_reply('OK')
