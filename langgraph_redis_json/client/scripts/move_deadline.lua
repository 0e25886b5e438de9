-- requires: deadlines
-- Give a thread another deadline, or continue with that.
-- ARGV[1] is the reason, ARGV[2] a number:
--   use       the thread was used; the number is its new deadline, if that is later than its own
--   expire    the thread expires so many milliseconds from now
--   pin       the thread never expires; the number is not read
--   continue  the number is the deadline that is being applied, ARGV[3] the entry to continue after
-- Returns {whether the thread exists, deadline, the entry to continue after}; the entry is nil when
-- all keys have the deadline.

if redis.call('EXISTS', contents) == 0 then return { 0 } end
local pending, current = pending_deadline(), redis.call('PEXPIRETIME', contents)
local reason, deadline, after = ARGV[1], tonumber(ARGV[2]), ''

if reason == 'continue' then
  if not pending then return { 1, deadline } end -- another process finished this
  -- If another process chose another deadline since, apply that one from the beginning.
  if pending == deadline then after = ARGV[3] end
  deadline = pending
elseif reason == 'use' then
  if pending and (pending < 0 or pending >= deadline) then
    deadline = pending
  elseif deadline < 0 or current >= deadline then
    return { 1, deadline }
  end
elseif reason == 'expire' then
  deadline = now() + deadline
else
  deadline = -1
end

if deadline ~= pending then
  -- The script writes before it adds the entry, because then a full server accepts the entry.
  redis.call('ZREM', contents, deadline_entry(pending or deadline))
  redis.call('ZADD', contents, 0, deadline_entry(deadline))
  if deadline >= 0 and (current < 0 or deadline < current) then
    -- The thread expires earlier now: its table of contents must expire before its other keys.
    set_deadline(key_of('t'), deadline)
    set_deadline(contents, deadline)
  end
end
return { 1, deadline, apply_deadline(deadline, after) }
