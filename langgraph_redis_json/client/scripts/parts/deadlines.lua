-- requires: contents
-- When a thread expires. Its deadline is that of its table of contents, in milliseconds; -1 for
-- none. All keys of the thread have the same deadline.
-- To change the deadline of a large thread takes several calls. The entry d:<deadline> says that all
-- keys are about to get another deadline; the table of contents gets it last. So if a process dies
-- in between, some keys live longer than their thread, and then expire by themselves.
-- The entry d:never says that the thread is pinned. It stays.

local MOST = 2000 -- keys that get a deadline in one call, so that other clients need not wait long

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function set_deadline(key, deadline)
  if deadline < 0 then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIREAT', key, ('%d'):format(deadline))
  end
end

local function deadline_entry(deadline)
  return 'd:' .. (deadline < 0 and 'never' or ('%d'):format(deadline))
end

-- The deadline that all keys are about to get; nil if they have it.
local function pending_deadline()
  local found = redis.call('ZRANGEBYLEX', contents, '[d:', '(d:' .. AFTER_ALL, 'LIMIT', 0, 1)[1]
  return found and (tonumber(found:sub(3)) or -1)
end

-- Give the pending deadline to the keys after an entry ('' for all keys). Returns the entry to
-- continue after; nil if all keys have the deadline.
local function apply_deadline(deadline, after)
  local start = after == '' and '-' or '(' .. after
  local entries = redis.call('ZRANGEBYLEX', contents, start, '+', 'LIMIT', 0, MOST)
  for _, entry in ipairs(entries) do
    -- A search finds the thread document, so it must not outlive the thread.
    if entry ~= 't' and entry:sub(1, 2) ~= 'd:' then set_deadline(key_of(entry), deadline) end
  end
  if #entries == MOST then return entries[MOST] end
  set_deadline(key_of('t'), deadline)
  set_deadline(contents, deadline)
  if deadline >= 0 then redis.call('ZREM', contents, deadline_entry(deadline)) end
end

-- The thread was used, and these entries were written: give them the thread's deadline.
-- With a TTL (milliseconds, 0 for none) the thread lives at least that long from now. It then gets a
-- quarter more, so that its keys get a new deadline once in a quarter of the TTL and not at each use.
-- Returns the new deadline if that takes more calls (move_deadline.lua), else false.
local function use_thread(ttl, entries)
  local deadline, pending = redis.call('PEXPIRETIME', contents), pending_deadline()
  local new = false
  -- Another process is applying a pending deadline, or died while it did.
  if pending and (pending >= 0 or deadline >= 0) then new = pending end
  if ttl > 0 and (not pending or pending >= 0) then
    local least = now() + ttl
    if (pending or deadline) < least then new = now() + math.ceil(ttl * 1.25) end
  end
  if new and redis.call('ZCARD', contents) < MOST then
    if pending and pending >= 0 then redis.call('ZREM', contents, deadline_entry(pending)) end
    apply_deadline(new, '')
    return false
  end
  local current = pending or deadline
  if current >= 0 then
    for _, entry in ipairs(entries) do set_deadline(key_of(entry), current) end
  end
  return new
end
