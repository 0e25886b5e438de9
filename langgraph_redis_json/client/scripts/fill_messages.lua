-- requires: deadlines, messages
-- Store documents of messages of checkpoints that exist already (operations/fill_messages.py).
-- ARGV[1] is a JSON object:
--   count    how many checkpoints the thread has
--   newest   the entries of the newest checkpoint of each namespace
--   marked   the entries of checkpoints all of whose messages have documents now
--   level    the member "searchable" that these get
-- Then come entry, document, …
-- Returns 1. If another process has stored or deleted checkpoints since they were read, nothing is stored,
-- because a message may have been edited or deleted; returns 0 then.

local order = cjson.decode(ARGV[1])
if redis.call('ZLEXCOUNT', contents, '[c:', '(c:' .. AFTER_ALL) ~= order.count then return 0 end
for _, entry in ipairs(order.newest) do
  if newest(entry:match('^c:([^:]*):')) ~= entry then return 0 end
end

local entries, is_named = {}, {}
for i = 2, #ARGV, 2 do entries[#entries + 1] = ARGV[i] end
for i, score in ipairs(scores_of(entries)) do is_named[entries[i]] = score end
for _, entry in ipairs(entries) do redis.call('ZADD', contents, 0, entry) end
store_messages(2, #entries, is_named)
use_thread(0, entries)
for _, entry in ipairs(order.marked or {}) do
  if redis.call('EXISTS', key_of(entry)) == 1 then
    redis.call('JSON.SET', key_of(entry), '$.searchable', order.level)
  end
end
return 1
