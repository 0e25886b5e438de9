-- Store documents of one thread, all or none.
-- ARGV[1] is a JSON object, with those of these members that are not empty: "remembered", the entry
-- of the checkpoint with which the caller stored or read what it expects: with that, a server that
-- was restored or failed over may have lost what others have since put in its place; "expected", pairs of
-- the entry of a blob or log that must be there already and how many items it must have (0 for a
-- blob); "appended", logs with their length and the number of items to add to each; "inherited",
-- pairs of a blob's entry and the JSON member that the last document gets if the blob is there;
-- "summary", how many bytes of the last document the thread's document begins with, if it need not
-- be looked up; "aside", entries of large blobs that were sent right before; "without_writes",
-- entries of checkpoints whose pending writes are deleted; "ttl" as use() takes it; "keep", how
-- many checkpoints retain() keeps, if it is there. Then come the items to add, one after another,
-- and then the documents: entry, document, …
-- Returns the entries that are missing, and the logs that others have added to: if there are any,
-- nothing is stored; then what use() returns, and what retain() returns.

local order = cjson.decode(ARGV[1])

-- Which of these are named, by one call.
local asked = { order.remembered or 't', order.summary and writes_of(ARGV[#ARGV - 1]) or 't' }
for _, log in ipairs(order.appended or {}) do asked[#asked + 1] = log[1] end
for _, pair in ipairs(order.expected or {}) do asked[#asked + 1] = pair[1] end
for _, entry in ipairs(order.aside or {}) do asked[#asked + 1] = entry end
local scores, is_named = scores_of(asked), {}
for i, entry in ipairs(asked) do is_named[entry] = scores[i] end

-- Add items to a log. Returns how many it had; -1 if it is none, and nothing was added.
local function append(log, first, last)
  local found = redis.pcall('JSON.ARRAPPEND', key_of(log), '$.items', unpack(ARGV, first, last))
  if found.err and length_of(log) >= 0 then error(found) end -- a full server, say
  return not found.err and found[1] and found[1] - (last - first + 1) or -1
end

local missing, grown = {}, {}
if order.remembered and not is_named[order.remembered] then missing[1] = order.remembered end

-- The answer tells how long a log was: where it is not as expected, all is taken back.
local at, lengths = 2, {}
for _, log in ipairs(order.appended or {}) do
  local entry, expected, stop = log[1], log[2], at + log[3]
  local length = is_named[entry] and append(entry, at, math.min(at + 999, stop - 1)) or -1
  if length >= 0 then lengths[entry] = length end
  if length < expected then missing[#missing + 1] = entry end
  if length > expected then grown[#grown + 1] = entry end
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
for _, entry in ipairs(order.aside or {}) do
  local kind = redis.pcall('JSON.TYPE', key_of(entry))
  local is_there = type(kind) == 'table' and kind[1] or type(kind) == 'string'
  if not is_named[entry] or not is_there then missing[#missing + 1] = entry end
end
if #missing + #grown > 0 then
  for log, length in pairs(lengths) do -- (from 1 up to 0 is nothing)
    redis.call('JSON.ARRTRIM', key_of(log), '$.items', length > 0 and 0 or 1, math.max(0, length - 1))
  end
  return { missing, grown, false, {}, 0 }
end

local members = {}
for _, pair in ipairs(order.inherited or {}) do
  local named = redis.call('ZSCORE', contents, pair[1])
  if named and redis.call('EXISTS', key_of(pair[1])) == 1 then members[#members + 1] = pair[2] end
end

for _, entry in ipairs(order.without_writes or {}) do forget(writes_of(entry)) end

local root, names = false, {}
for i = at, #ARGV, 2 do
  names[#names + 1] = ARGV[i]
  if ARGV[i]:sub(1, 3) == 'c::' then root = ARGV[i] end
end
if root then names[#names + 1] = 't' end
name_all(names)
for i = at, #ARGV, 2 do
  local entry, document = ARGV[i], ARGV[i + 1]
  if i == #ARGV - 1 and #members > 0 then
    -- The last member of a checkpoint is its channel values.
    local comma = document:sub(-3) == '{}}' and '' or ','
    document = document:sub(1, -3) .. comma .. table.concat(members, ',') .. '}}'
  end
  if entry:sub(1, 2) == 'l:' then
    -- A log's number is random: one that is there is this very log, by a command that was sent
    -- twice, and others may have added to it.
    redis.call('JSON.SET', key_of(entry), '$', document, 'NX')
  else
    redis.call('JSON.SET', key_of(entry), '$', document)
  end
end

if root then
  local is_plain = order.summary and newest('') == root and not is_named[writes_of(root)]
  if is_plain then summarize(ARGV[#ARGV]:sub(1, order.summary)) else refresh_thread() end
end

local too_many, worn = false, {}
if retain then too_many, worn = retain(order.keep, ARGV[#ARGV - 1]) end
for _, entry in ipairs(order.aside or {}) do names[#names + 1] = entry end
local due = use(order.ttl or 0, names)
-- What was sent aside vanishes by itself, until it is known that the thread does not.
if order.aside and redis.call('PEXPIRETIME', contents) < 0 and (coming() or -1) < 0 then
  for _, entry in ipairs(order.aside) do give(key_of(entry), -1) end
end
return { {}, {}, due, worn, too_many and 1 or 0 }
