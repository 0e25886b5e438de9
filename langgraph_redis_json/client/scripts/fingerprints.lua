-- requires: contents
-- What a thread holds, in short, so that an export sees whether the thread has changed meanwhile.
-- ARGV[1] is the entry to continue after ('' to begin), ARGV[2] how many entries at most.
-- Returns "<entry> <fingerprint>" for each entry, in order: the SHA-1 of the document, the number of
-- items of a log (items are only ever added), and "-" for a document that is gone and for an entry that
-- names none, or is a mark; and the entry to continue after, false at the end.

local MOST_HASHED = 4000000 -- bytes after which a call reads no further document: other clients wait

local most = tonumber(ARGV[2])
local start = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local entries = redis.call('ZRANGEBYLEX', contents, start, '+', 'LIMIT', 0, most)
local found, size = {}, 0
for i, entry in ipairs(entries) do
  local fingerprint = '-'
  if entry:sub(1, 1) == 'l' then
    fingerprint = length_of(entry)
  elseif KINDS[entry:sub(1, 1)] then
    local document = redis.pcall('JSON.GET', key_of(entry), '.')
    if type(document) == 'string' then
      fingerprint = redis.sha1hex(document)
      size = size + #document
    end
  end
  found[i] = entry .. ' ' .. fingerprint
  if size > MOST_HASHED then break end
end
local ended = #found == #entries and #entries < most
return { found, not ended and entries[#found] or false }
