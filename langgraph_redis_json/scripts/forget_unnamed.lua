-- Delete those blobs, whose entries follow, that the table of contents does not name.
-- It needs no memory: a full server runs it.

for _, entry in ipairs(ARGV) do
  if not redis.call('ZSCORE', contents, entry) then redis.call('UNLINK', key_of(entry)) end
end
