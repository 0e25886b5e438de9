-- Give a thread another deadline, or go on with that. ARGV[1] says what for, ARGV[2] is a number:
--   use     the thread was used; the deadline, in milliseconds, if it is later than the thread's
--   expire  the deadline is so many milliseconds from now
--   pin     no deadline
--   go on   the deadline, and ARGV[3] the entry to go on from
-- Returns the deadline and the entry to go on from; nil instead of that entry when all is done, and
-- of both if there is no such thread.

if redis.call('EXISTS', contents) == 0 then return {} end
local to, current = coming(), redis.call('PEXPIRETIME', contents)
local why, deadline, after = ARGV[1], tonumber(ARGV[2]), ''

if why == 'go on' then
  if not to then return { deadline } end -- another was faster
  -- Where another has chosen another deadline, all begins anew.
  if to == deadline then after = ARGV[3] end
  deadline = to
elseif why == 'use' then
  if to and (to < 0 or to >= deadline) then
    deadline = to
  elseif deadline < 0 or current >= deadline then
    return { deadline }
  end
elseif why == 'expire' then
  deadline = now() + deadline
else
  deadline = -1
end

if deadline ~= to then
  -- In a script that has begun to write, a full server lets the mark through.
  redis.call('ZREM', contents, mark_of(to or deadline))
  redis.call('ZADD', contents, 0, mark_of(deadline))
  if deadline >= 0 and (current < 0 or deadline < current) then
    -- It is to vanish earlier: nothing of it may be gone before the table of contents.
    give(key_of('t'), deadline)
    give(contents, deadline)
  end
end
return { deadline, move(deadline, after) }
