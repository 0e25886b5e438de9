-- One step of freeing blobs and logs that no checkpoint refers to. ARGV[3] says which, then come
-- their entries:
--   mark  an entry gets an x in front: a put that needs its document sends it anew, so that
--         whoever looks for references from now on finds all that there ever will be
--   keep  a reference was found: the mark goes
--   free  none was: the document goes, unless it was sent anew

local step = ARGV[3]
for i = 4, #ARGV do
  local entry = ARGV[i]
  if step == 'mark' then
    -- Where another sweep's mark stands, this was sent anew since: it is needed.
    local marked = redis.call('ZSCORE', contents, 'x' .. entry)
    if not marked and redis.call('ZREM', contents, entry) == 1 then
      redis.call('ZADD', contents, 0, 'x' .. entry)
    end
  elseif redis.call('ZREM', contents, 'x' .. entry) == 1 then
    if step == 'keep' then
      redis.call('ZADD', contents, 0, entry)
    elseif not redis.call('ZSCORE', contents, entry) then
      redis.call('UNLINK', key_of(entry))
    end
  end
end
close()
return redis.status_reply('OK')
