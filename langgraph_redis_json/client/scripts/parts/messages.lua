-- requires: contents
-- The documents of messages.

-- The members before this one change when a message is edited. The others tell where the message was first.
-- (Inside a string the quotation marks would have a backslash.)
local FIRST = ',"thread_id":'

-- Store documents of messages, which stand in ARGV from a number on: entry, document, …
-- is_named[entry] tells whether the table of contents had the entry before: a document that it does not
-- name belongs to a thread that expired earlier.
local function store_messages(first, count, is_named)
  for i = first, first + 2 * count - 1, 2 do
    local key, document = key_of(ARGV[i]), ARGV[i + 1]
    local old = is_named[ARGV[i]] and redis.pcall('JSON.GET', key, '.')
    local of_old = type(old) == 'string' and old:find(FIRST, 1, true)
    if of_old then document = document:sub(1, document:find(FIRST, 1, true) - 1) .. old:sub(of_old) end
    -- The index reads a document again whenever it is written.
    if document ~= old then redis.call('JSON.SET', key, '$', document) end
  end
end
