-- requires: staging
-- Store documents of a thread that is imported. (parts/staging.lua)
-- ARGV has, for each document: its entry, its text ('' if it was gone when the thread was exported), and
-- 1 if it is complete, or 0 for a log whose items follow (stage_items.lua).
-- Returns {entry, text} for each document that the server does not give back as it was; false, and stores
-- nothing, if the thread exists or nothing is staged.

local deadline = redis.call('PEXPIRETIME', staging)
if deadline < 0 or redis.call('EXISTS', contents) == 1 then return false end
local changed = {}
for i = 1, #ARGV, 3 do
  local entry, document, is_complete = ARGV[i], ARGV[i + 1], ARGV[i + 2] == '1'
  -- An earlier import of the same content may have stored it.
  if not redis.call('ZSCORE', staging, entry) then
    if document ~= '' then
      redis.call('JSON.SET', key_of(entry), '$', document)
      local stored = redis.call('JSON.GET', key_of(entry), '.')
      if stored ~= document then changed[#changed + 1] = { entry, stored } end
    end
    set_deadline(key_of(entry), deadline)
    redis.call('ZADD', staging, 0, is_complete and entry or 'p' .. entry)
  end
end
return changed
