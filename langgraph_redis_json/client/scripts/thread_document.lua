-- requires: contents
-- The thread document: the thread's newest root checkpoint in short, with the thread's status.

-- The members that do not come from the checkpoint.
local function own_members(status)
  local time = redis.call('TIME')
  return '"status":"' .. status .. '","updated_at":' .. time[1]
    .. ('%03d'):format(math.floor(time[2] / 1000))
end

-- Write the thread document of a new root checkpoint. The checkpoint's document begins with the
-- members that both have; this is their text.
local function write_thread_document(shared)
  redis.call('JSON.SET', key_of('t'), '$', shared .. ',' .. own_members('idle') .. '}')
end

-- "interrupted", "error" or "idle", by the special writes among a checkpoint's pending writes.
local function status_of(writes)
  local is_named = redis.call('ZSCORE', contents, writes)
  local channels = is_named and redis.call('JSON.GET', key_of(writes), '$.writes.*.channel')
  if not channels then return 'idle' end
  if channels:find('"__interrupt__"', 1, true) then return 'interrupted' end
  if channels:find('"__error__"', 1, true) then return 'error' end
  return 'idle'
end

-- Write the thread document from the newest root checkpoint and its writes, in whatever order these
-- arrived. Delete it if there is no root checkpoint.
local function rebuild_thread_document()
  local entry = newest('')
  local key = entry and key_of(entry)
  if not entry or redis.call('EXISTS', key) == 0 then
    redis.call('UNLINK', key_of('t'))
    redis.call('ZREM', contents, 't')
    return
  end
  local members = {}
  for _, name in ipairs({
    'format', 'thread_id', 'checkpoint_id', 'created_at', 'metadata', 'tokens',
  }) do
    -- The text as it is: a number of Lua has no more than 53 bits.
    local found = redis.call('JSON.GET', key, '$.' .. name)
    if found ~= '[]' then members[#members + 1] = '"' .. name .. '":' .. found:sub(2, -2) end
  end
  members[#members + 1] = own_members(status_of(writes_of(entry)))
  redis.call('ZADD', contents, 0, 't')
  redis.call('JSON.SET', key_of('t'), '$', '{' .. table.concat(members, ',') .. '}')
end
