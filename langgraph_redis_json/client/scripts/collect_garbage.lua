-- requires: deletion
-- One step of deleting blobs and logs that no checkpoint refers to (operations/garbage.py).
-- ARGV[1] is the step, ARGV[2] the number of the collection; then come entries:
--   mark   <entry> becomes x<entry> <number>. A put that needs the key does not find it named and
--          sends it again, so a search for references from now on finds all that there will ever be.
--   adopt  a mark of an earlier collection, which was cut short, gets this one's number
--   keep   a reference was found: the mark becomes the entry again
--   free   no reference was found: the key is deleted, unless it was sent again
-- An entry has at most one mark. Only the collection that made the mark keeps or frees the key, because
-- that collection has searched for references since.

local step, number = ARGV[1], ' ' .. ARGV[2]
for i = 3, #ARGV do
  local entry = ARGV[i]
  if step == 'mark' then
    local start = 'x' .. entry .. ' '
    local marks = redis.call('ZRANGEBYLEX', contents, '[' .. start, '(' .. start .. AFTER_ALL)
    -- If another collection has marked this entry, it was sent again since: it is needed.
    if #marks == 0 and redis.call('ZREM', contents, entry) == 1 then
      redis.call('ZADD', contents, 0, 'x' .. entry .. number)
    end
  elseif step == 'adopt' then
    if redis.call('ZREM', contents, entry) == 1 then
      redis.call('ZADD', contents, 0, entry:match('^(.*) .-$') .. number)
    end
  elseif redis.call('ZREM', contents, 'x' .. entry .. number) == 1 then
    if step == 'keep' then
      redis.call('ZADD', contents, 0, entry)
    elseif not redis.call('ZSCORE', contents, entry) then
      redis.call('UNLINK', key_of(entry))
    end
  end
end
delete_empty_contents()
return redis.status_reply('OK')
