-- requires: thread_document
-- Write the thread document again from the newest root checkpoint and its writes. The thread keeps the
-- time of its last change.

local deadline = redis.call('PEXPIRETIME', contents)
local key = key_of('t')
local changed = redis.pcall('JSON.GET', key, '.updated_at')
rebuild_thread_document()
if redis.call('EXISTS', key) == 1 then
  if type(changed) == 'string' and changed:find('^%d+$') then
    redis.call('JSON.MERGE', key, '$', '{"updated_at":' .. changed .. '}')
  end
  if deadline >= 0 then redis.call('PEXPIREAT', key, ('%d'):format(deadline)) end
end
return redis.status_reply('OK')
