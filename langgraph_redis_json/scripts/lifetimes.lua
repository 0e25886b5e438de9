-- How long a thread lives: until its deadline, at which all its keys vanish. It is the deadline of
-- the table of contents, in milliseconds; -1 for none.
-- An entry d:… says that all keys are to have another one, and that the table of contents gets it
-- when they have: so whoever dies before leaves keys that outlive their thread, and vanish alone.
-- d:never stays, and says that the thread is pinned.

local MOST = 2000 -- keys that one call gives a deadline: other clients wait for no more than that

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function give(key, deadline)
  if deadline < 0 then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIREAT', key, ('%d'):format(deadline))
  end
end

local function mark_of(deadline)
  return 'd:' .. (deadline < 0 and 'never' or ('%d'):format(deadline))
end

-- The deadline that all keys are to have, nil if they have it.
local function coming()
  local mark = redis.call('ZRANGEBYLEX', contents, '[d:', '(d:' .. LAST, 'LIMIT', 0, 1)[1]
  return mark and (tonumber(mark:sub(3)) or -1)
end

-- Give the keys that follow an entry ('' for all) the deadline that is coming. Returns the entry
-- to go on from, nil if all have it.
local function move(deadline, after)
  local start = after == '' and '-' or '(' .. after
  local names = redis.call('ZRANGEBYLEX', contents, start, '+', 'LIMIT', 0, MOST)
  for _, entry in ipairs(names) do
    -- A search finds the thread's document: it never outlives the thread.
    if entry ~= 't' and entry:sub(1, 2) ~= 'd:' then give(key_of(entry), deadline) end
  end
  if #names == MOST then return names[MOST] end
  give(key_of('t'), deadline)
  give(contents, deadline)
  if deadline >= 0 then redis.call('ZREM', contents, mark_of(deadline)) end
end

-- A thread is used, and these entries were written: they get its deadline. With a TTL (in
-- milliseconds, 0 for none) it has to live so long from now; then it gets a quarter more, so that
-- its keys are gone through once in a quarter of the TTL and not each time.
-- Returns the deadline that it is to have, if that takes more calls: move_deadline.lua; else false.
local function use(ttl, names)
  local deadline, to = redis.call('PEXPIRETIME', contents), coming()
  local due = false
  if to and (to >= 0 or deadline >= 0) then due = to end -- somebody is at it, or has died
  if ttl > 0 and (not to or to >= 0) then
    local wanted = now() + ttl
    if (to or deadline) < wanted then due = now() + math.ceil(ttl * 1.25) end
  end
  if due and redis.call('ZCARD', contents) < MOST then
    if to and to >= 0 then redis.call('ZREM', contents, mark_of(to)) end
    move(due, '')
    return false
  end
  if not to then to = deadline end
  if to >= 0 then
    for _, entry in ipairs(names) do give(key_of(entry), to) end
  end
  return due
end
