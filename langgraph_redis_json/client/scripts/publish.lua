-- requires: staging
-- Let the thread that was imported exist: its table of contents names all staged documents at once.
-- ARGV[1] is the deadline (-1 for none), ARGV[2] 1 if the thread is pinned, ARGV[3] the thread document
-- ('' if there is none). (parts/staging.lua)
-- Returns 1; 0, and changes nothing, if the thread exists or nothing is staged.

if redis.call('EXISTS', contents) == 1 or redis.call('EXISTS', staging) == 0 then return 0 end
local deadline, after = tonumber(ARGV[1]), '-'
repeat
  local entries = redis.call('ZRANGEBYLEX', staging, after, '+', 'LIMIT', 0, 1000)
  local members = {}
  for _, entry in ipairs(entries) do
    if entry:sub(1, 2) ~= 'i:' then
      members[#members + 1] = 0
      members[#members + 1] = entry
    end
  end
  if #members > 0 then redis.call('ZADD', contents, unpack(members)) end
  after = '(' .. (entries[#entries] or '')
until #entries < 1000
if ARGV[2] == '1' then redis.call('ZADD', contents, 0, deadline_entry(-1)) end
if ARGV[3] ~= '' then
  redis.call('JSON.SET', key_of('t'), '$', ARGV[3])
  redis.call('ZADD', contents, 0, 't')
  set_deadline(key_of('t'), deadline)
end
set_deadline(contents, deadline)
redis.call('UNLINK', staging)
return 1
