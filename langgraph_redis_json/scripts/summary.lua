-- The thread's document, its latest root checkpoint at a glance. Shared by the scripts that change
-- what it tells.

-- The members of the thread's document that are not the checkpoint's.
local function changed(status)
  local now = redis.call('TIME')
  return '"status":"' .. status .. '","updated_at":' .. now[1]
    .. ('%03d'):format(math.floor(now[2] / 1000))
end

-- Write it from a new root checkpoint, whose document begins with what the thread's has.
local function summarize(text)
  redis.call('JSON.SET', key_of('t'), '$', text .. ',' .. changed('idle') .. '}')
end

-- "interrupted", "error" or "idle", by the special writes of the tasks.
local function status_of(writes)
  local named = redis.call('ZSCORE', contents, writes)
  local channels = named and redis.call('JSON.GET', key_of(writes), '$.writes.*.channel')
  if not channels then return 'idle' end
  for _, status in ipairs({ { '"__interrupt__"', 'interrupted' }, { '"__error__"', 'error' } }) do
    if channels:find(status[1], 1, true) then return status[2] end
  end
  return 'idle'
end

-- Write it anew from the newest root checkpoint and that one's writes, so that it is right in
-- whatever order they arrived.
local function refresh_thread()
  local entry = newest('')
  local key = entry and key_of(entry)
  if not entry or redis.call('EXISTS', key) == 0 then return forget('t') end
  local fields = {}
  local names = { 'format', 'thread_id', 'checkpoint_id', 'created_at', 'source', 'step', 'run_id' }
  local paths = {}
  for i, name in ipairs(names) do paths[i] = '$.' .. name end
  local text = redis.call('JSON.GET', key, unpack(paths))
  local plain = cjson.decode(text)
  for i, name in ipairs(names) do
    local value = plain[paths[i]][1]
    -- A number as it was written: Lua's have no more than 53 bits.
    value = type(value) == 'string' and cjson.encode(value)
      or text:match('"%$%.' .. name .. '":%[(%-?%d+)%]')
    if value then fields[#fields + 1] = '"' .. name .. '":' .. value end
  end
  for _, name in ipairs({ 'metadata', 'tokens' }) do
    local found = redis.call('JSON.GET', key, '$.' .. name)
    if found ~= '[]' then fields[#fields + 1] = '"' .. name .. '":' .. found:sub(2, -2) end
  end
  fields[#fields + 1] = changed(status_of(writes_of(entry)))
  redis.call('ZADD', contents, 0, 't')
  redis.call('JSON.SET', key_of('t'), '$', '{' .. table.concat(fields, ',') .. '}')
end
