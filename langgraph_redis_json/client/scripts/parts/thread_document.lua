-- requires: contents
-- The thread document: the thread's newest root checkpoint in short, with the thread's status.

local ERROR, INTERRUPT = '-1', '-3' -- LangGraph's WRITES_IDX_MAP

-- The members that do not come from the checkpoint.
local function own_members(status)
  local time = redis.call('TIME')
  return '"status":"' .. status .. '","updated_at":' .. time[1]
    .. ('%03d'):format(math.floor(time[2] / 1000))
end

-- Write the thread document of a new root checkpoint without pending writes. The checkpoint's document
-- begins with the members that both have; this is their text, which ends with "has_next".
local function write_thread_document(shared)
  local status = shared:sub(-4) == 'true' and 'interrupted' or 'idle'
  redis.call('JSON.SET', key_of('t'), '$', shared .. ',' .. own_members(status) .. '}')
end

-- The status of a thread whose newest root checkpoint has these pending writes: what graph.get_state()
-- says of its tasks. Of the special writes of a task the last one counts: an interrupt that was answered,
-- and whose task then failed, is an error.
local function status_of(writes, has_next)
  local last, status = {}, has_next and 'interrupted' or 'idle'
  local is_named = redis.call('ZSCORE', contents, writes)
  local exists = is_named and redis.call('EXISTS', key_of(writes)) == 1
  -- A document that somebody has altered is reported when it is read.
  for _, name in ipairs(exists and redis.pcall('JSON.OBJKEYS', key_of(writes), '.writes') or {}) do
    local task, index = name:match('^(.*):(-%d+)$')
    if index == ERROR or index == INTERRUPT then last[task] = index end
  end
  for _, index in pairs(last) do
    if index == INTERRUPT then return 'interrupted' end
    status = 'error'
  end
  return status
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
    'format', 'thread_id', 'checkpoint_id', 'created_at', 'metadata', 'tokens', 'other_metadata', 'has_next',
  }) do
    -- The text as it is: a number of Lua has no more than 53 bits.
    local found = redis.call('JSON.GET', key, '$.' .. name)
    if found ~= '[]' then members[#members + 1] = '"' .. name .. '":' .. found:sub(2, -2) end
  end
  local has_next = members[#members] == '"has_next":true'
  members[#members + 1] = own_members(status_of(writes_of(entry), has_next))
  redis.call('ZADD', contents, 0, 't')
  redis.call('JSON.SET', key_of('t'), '$', '{' .. table.concat(members, ',') .. '}')
end

-- Special writes were added to the pending writes of the newest root checkpoint. Their names are
-- <digest of the task>:<index>. An interrupt needs no look at the writes of other tasks, of which there
-- may be thousands.
local function update_status(specials)
  local has_interrupt = false
  for _, name in ipairs(specials) do
    if name:sub(-3) == ':' .. ERROR then return rebuild_thread_document() end
    has_interrupt = has_interrupt or name:sub(-3) == ':' .. INTERRUPT
  end
  if not has_interrupt then return end
  if redis.call('EXISTS', key_of('t')) == 0 then return rebuild_thread_document() end
  redis.call('JSON.MERGE', key_of('t'), '$', '{' .. own_members('interrupted') .. '}')
end
