-- requires: staging
-- Delete those blobs, whose entries ARGV has, that the table of contents does not name. A blob that
-- collect_garbage.lua has marked stays, because a stored checkpoint may need it; so does one that an
-- import is storing.
-- Needs no memory, so that a full server runs it.

for _, entry in ipairs(ARGV) do
  local mark = 'x' .. entry .. ' '
  local marked = redis.call('ZRANGEBYLEX', contents, '[' .. mark, '(' .. mark .. AFTER_ALL)[1]
  local kept = marked or redis.call('ZSCORE', contents, entry) or is_staged(entry)
  if not kept then
    redis.call('UNLINK', key_of(entry))
  end
end
