-- requires: thread_document, deadlines, deletion, messages
-- Store documents of one thread: all of them, or none.
-- ARGV[1] is a JSON object; empty members are absent:
--   cached           the entry of the checkpoint that the caller's references come from. It must exist:
--                    a server that was restored, or failed over, may have lost it, and may have taken
--                    as many items of another process into its logs since.
--   expected         pairs: the entry of a blob or log that must exist, and how many items it must have
--                    (0 for a blob)
--   appended         logs to add items to: {entry, its length, number of new items}
--   inherited        pairs: the entry of a blob, and the JSON member that the last document gets if
--                    that blob exists
--   shared           how many bytes of the last document the thread document begins with, if that
--                    is a root checkpoint; absent if the thread document must be rebuilt
--   separately       entries of large blobs that were sent right before this script
--   without_writes   entries of checkpoints whose pending writes are deleted
--   ttl              use_thread() takes it
--   messages         how many of the documents are those of messages
-- Then come the new items, one after another, and then the documents, those of messages first: entry,
-- document, …
-- Returns
--   missing entries; if there are any, nothing is stored
--   logs that other processes have added to; if there are any, nothing is stored
--   what use_thread() returns

local order = cjson.decode(ARGV[1])

-- One command tells which of these entries the table of contents has.
local asked = { order.cached or 't', order.shared and writes_of(ARGV[#ARGV - 1]) or 't' }
for _, log in ipairs(order.appended or {}) do asked[#asked + 1] = log[1] end
for _, pair in ipairs(order.expected or {}) do asked[#asked + 1] = pair[1] end
for _, entry in ipairs(order.separately or {}) do asked[#asked + 1] = entry end
if order.messages then
  local first = 2
  for _, log in ipairs(order.appended or {}) do first = first + log[3] end
  for i = first, first + 2 * order.messages - 1, 2 do asked[#asked + 1] = ARGV[i] end
end
local scores, is_named = scores_of(asked), {}
for i, entry in ipairs(asked) do is_named[entry] = scores[i] end

-- Add items to a log. Returns its length before; -1 if there is no such log and nothing was added.
local function append(log, first, last)
  local found = redis.pcall('JSON.ARRAPPEND', key_of(log), '$.items', unpack(ARGV, first, last))
  if found.err and length_of(log) >= 0 then error(found) end -- the server is full, for example
  return not found.err and found[1] and found[1] - (last - first + 1) or -1
end

local missing, changed_by_others = {}, {}
if order.cached and not is_named[order.cached] then missing[1] = order.cached end

-- The reply to the first items tells how long the log was. If that is not as expected, the items are
-- taken out again.
local at, lengths = 2, {}
for _, log in ipairs(order.appended or {}) do
  local entry, expected, stop = log[1], log[2], at + log[3]
  local length = is_named[entry] and append(entry, at, math.min(at + 999, stop - 1)) or -1
  if length >= 0 then lengths[entry] = length end
  if length < expected then missing[#missing + 1] = entry end
  if length > expected then changed_by_others[#changed_by_others + 1] = entry end
  for first = at + 1000, length == expected and stop - 1 or 0, 1000 do
    append(entry, first, math.min(first + 999, stop - 1))
  end
  at = stop
end
for _, pair in ipairs(order.expected or {}) do
  local entry, length = pair[1], pair[2]
  if not is_named[entry]
    or length > 0 and length_of(entry) < length
    or length == 0 and redis.call('EXISTS', key_of(entry)) == 0
  then
    missing[#missing + 1] = entry
  end
end
for _, entry in ipairs(order.separately or {}) do
  local kind = redis.pcall('JSON.TYPE', key_of(entry))
  local exists = type(kind) == 'table' and kind[1] or type(kind) == 'string'
  if not is_named[entry] or not exists then missing[#missing + 1] = entry end
end
if #missing + #changed_by_others > 0 then
  for log, length in pairs(lengths) do -- from 1 up to 0 is nothing
    redis.call('JSON.ARRTRIM', key_of(log), '$.items', length > 0 and 0 or 1, math.max(0, length - 1))
  end
  return { missing, changed_by_others, false }
end

local members = {}
for _, pair in ipairs(order.inherited or {}) do
  local named = redis.call('ZSCORE', contents, pair[1])
  if named and redis.call('EXISTS', key_of(pair[1])) == 1 then members[#members + 1] = pair[2] end
end

for _, entry in ipairs(order.without_writes or {}) do delete_all({ writes_of(entry) }) end

local root, entries = false, {}
for i = at, #ARGV, 2 do
  entries[#entries + 1] = ARGV[i]
  if ARGV[i]:sub(1, 3) == 'c::' then root = ARGV[i] end
end
if root then entries[#entries + 1] = 't' end
for first = 1, #entries, 1000 do
  local pairs_ = {}
  for i = first, math.min(first + 999, #entries) do
    pairs_[#pairs_ + 1] = 0
    pairs_[#pairs_ + 1] = entries[i]
  end
  redis.call('ZADD', contents, unpack(pairs_))
end
if order.messages then
  store_messages(at, order.messages, is_named)
  at = at + 2 * order.messages
end
for i = at, #ARGV, 2 do
  local entry, document = ARGV[i], ARGV[i + 1]
  if i == #ARGV - 1 and #members > 0 then
    -- The last member of a checkpoint is its channel values.
    local comma = document:sub(-3) == '{}}' and '' or ','
    document = document:sub(1, -3) .. comma .. table.concat(members, ',') .. '}}'
  end
  if entry:sub(1, 2) == 'l:' then
    -- The number of a log is random. If the log exists, this command was sent twice, and other
    -- processes may have added to the log since.
    redis.call('JSON.SET', key_of(entry), '$', document, 'NX')
  else
    redis.call('JSON.SET', key_of(entry), '$', document)
  end
end

if root then
  if order.shared and newest('') == root and not is_named[writes_of(root)] then
    write_thread_document(ARGV[#ARGV]:sub(1, order.shared))
  else
    rebuild_thread_document()
  end
end

for _, entry in ipairs(order.separately or {}) do entries[#entries + 1] = entry end
local new_deadline = use_thread(order.ttl or 0, entries)
-- Blobs that were sent separately have a deadline until it is certain that the thread has none.
if order.separately and redis.call('PEXPIRETIME', contents) < 0 and (pending_deadline() or -1) < 0 then
  for _, entry in ipairs(order.separately) do set_deadline(key_of(entry), -1) end
end
return { {}, {}, new_deadline }
