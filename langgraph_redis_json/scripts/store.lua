-- Store documents of one thread, all or none.
-- ARGV[1] is a JSON object, with those of these members that are not empty: "expected", pairs of
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

local missing, grown = {}, {}
for _, pair in ipairs(order.expected or {}) do
  local entry, length = pair[1], pair[2]
  if not redis.call('ZSCORE', contents, entry)
    or length > 0 and length_of(entry) < length
    or length == 0 and redis.call('EXISTS', key_of(entry)) == 0
  then
    missing[#missing + 1] = entry
  end
end
for _, entry in ipairs(order.aside or {}) do
  local kind = redis.pcall('JSON.TYPE', key_of(entry))
  local is_there = type(kind) == 'table' and kind[1] or type(kind) == 'string'
  if not is_there or not redis.call('ZSCORE', contents, entry) then
    missing[#missing + 1] = entry
  end
end
for _, log in ipairs(order.appended or {}) do
  local length = redis.call('ZSCORE', contents, log[1]) and length_of(log[1]) or -1
  if length < log[2] then missing[#missing + 1] = log[1] end
  if length > log[2] then grown[#grown + 1] = log[1] end
end
if #missing + #grown > 0 then return { missing, grown, false, {}, 0 } end

local at = 2
for _, log in ipairs(order.appended or {}) do
  local stop = at + log[3]
  while at < stop do
    local last = math.min(at + 999, stop - 1)
    redis.call('JSON.ARRAPPEND', key_of(log[1]), '$.items', unpack(ARGV, at, last))
    at = last + 1
  end
end

local members = {}
for _, pair in ipairs(order.inherited or {}) do
  local named = redis.call('ZSCORE', contents, pair[1])
  if named and redis.call('EXISTS', key_of(pair[1])) == 1 then members[#members + 1] = pair[2] end
end

for _, entry in ipairs(order.without_writes or {}) do forget(writes_of(entry)) end

local root, names = false, {}
for _, entry in ipairs(order.aside or {}) do names[#names + 1] = entry end
for i = at, #ARGV, 2 do
  local entry, document = ARGV[i], ARGV[i + 1]
  if i == #ARGV - 1 and #members > 0 then
    -- The last member of a checkpoint is its channel values.
    local comma = document:sub(-3) == '{}}' and '' or ','
    document = document:sub(1, -3) .. comma .. table.concat(members, ',') .. '}}'
  end
  redis.call('ZADD', contents, 0, entry)
  names[#names + 1] = entry
  if entry:sub(1, 2) == 'l:' then
    -- A log's number is random: one that is there is this very log, by a command that was sent
    -- twice, and others may have added to it.
    redis.call('JSON.SET', key_of(entry), '$', document, 'NX')
  else
    redis.call('JSON.SET', key_of(entry), '$', document)
  end
  if entry:sub(1, 3) == 'c::' then root = entry end
end

if root then
  local is_plain = order.summary and newest('') == root
    and not redis.call('ZSCORE', contents, writes_of(root))
  if is_plain then summarize(ARGV[#ARGV]:sub(1, order.summary)) else refresh_thread() end
  names[#names + 1] = 't'
end

local too_many, worn = false, {}
if retain then too_many, worn = retain(order.keep, ARGV[#ARGV - 1]) end
local due = use(order.ttl or 0, names)
-- What was sent aside vanishes by itself, until it is known that the thread does not.
if order.aside and redis.call('PEXPIRETIME', contents) < 0 and (coming() or -1) < 0 then
  for _, entry in ipairs(order.aside) do give(key_of(entry), -1) end
end
return { {}, {}, due, worn, too_many and 1 or 0 }
