-- Delete those blobs, whose entries follow, that the table of contents does not name, not even as
-- what sweep.lua has marked: stored checkpoints may need that, and get its name back.
-- It needs no memory: a full server runs it.

for _, entry in ipairs(ARGV) do
  local mark = 'x' .. entry .. ' '
  local marked = redis.call('ZRANGEBYLEX', contents, '[' .. mark, '(' .. mark .. LAST)[1]
  if not marked and not redis.call('ZSCORE', contents, entry) then
    redis.call('UNLINK', key_of(entry))
  end
end
