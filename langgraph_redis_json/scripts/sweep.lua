-- One step of freeing blobs and logs that no checkpoint refers to. ARGV[1] says which, ARGV[2] is
-- the sweep's own number; then come entries:
--   mark   an entry becomes x<entry> <number>: a put that needs its document sends it anew, so that
--          whoever looks for references from now on finds all that there ever will be
--   adopt  a mark that another sweep has left becomes this one's
--   keep   a reference was found: the mark goes
--   free   none was: the document goes, unless it was sent anew
-- An entry has one mark at most, and only the sweep whose it is keeps or frees by it: that one has
-- looked for references after it was made.

local step, number = ARGV[1], ' ' .. ARGV[2]
for i = 3, #ARGV do
  local entry = ARGV[i]
  if step == 'mark' then
    local start = 'x' .. entry .. ' '
    local marks = redis.call('ZRANGEBYLEX', contents, '[' .. start, '(' .. start .. LAST)
    -- Where another sweep's mark stands, this was sent anew since: it is needed.
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
close()
return redis.status_reply('OK')
