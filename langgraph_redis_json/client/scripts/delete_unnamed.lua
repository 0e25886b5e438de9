-- requires: contents
-- Delete those blobs, whose entries ARGV has, that the table of contents does not name. A blob that
-- collect_garbage.lua has marked stays, because a stored checkpoint may need it.
-- Needs no memory, so that a full server runs it.

for _, entry in ipairs(ARGV) do
  local mark = 'x' .. entry .. ' '
  local marked = redis.call('ZRANGEBYLEX', contents, '[' .. mark, '(' .. mark .. AFTER_ALL)[1]
  if not marked and not redis.call('ZSCORE', contents, entry) then
    redis.call('UNLINK', key_of(entry))
  end
end
