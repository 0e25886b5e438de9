-- Checkpoints with their pending writes and their blobs, each blob once.
-- ARGV[1] is the TTL as use() takes it, 0 if this is not to prolong the thread's life; ARGV[2] the
-- entry of a checkpoint that the caller remembers, or '', ARGV[3] how many of its blobs and logs he
-- has, whose entries follow. Then comes the escaped namespace whose newest checkpoint is wanted, and
-- the entries of blobs that are not; or ':', which no escaped namespace is, and the entries of the
-- wanted checkpoints.
-- Returns the rows of these checkpoints, or of the first of them if they are large, {blob, document,
-- …}, the items of logs as logged() gives them, and what use() returns. A document that is gone is nil.

local at = 4 + ARGV[3]
local held, wanted, seen = {}, {}, {}
for i = 4, at - 1 do held[ARGV[i]] = true end
if ARGV[at] == ':' then
  for i = at + 1, #ARGV do wanted[#wanted + 1] = ARGV[i] end
else
  wanted[1] = newest(ARGV[at])
  for i = at + 1, #ARGV do seen[ARGV[i]] = true end
end

local rows, blobs, items, size = {}, {}, {}, 0
local read = {} -- ranges of logs: an older checkpoint's are mostly parts of a newer one's

local function is_read(slice)
  for _, range in ipairs(read[slice[1]] or {}) do
    if range[1] <= slice[2] and slice[3] <= range[2] then return true end
  end
  return false
end

-- What the caller has not of the blobs and logs that he remembers: all of them, if one is gone.
local function lacking(references, slices)
  local keys, blobs, rest = {}, {}, {}
  for _, blob in ipairs(references) do
    if held[blob] then keys[#keys + 1] = key_of(blob) else blobs[#blobs + 1] = blob end
  end
  for _, slice in ipairs(slices) do
    if held[slice[1]] then keys[#keys + 1] = key_of(slice[1]) else rest[#rest + 1] = slice end
  end
  if #keys > 1000 or #keys > 0 and redis.call('EXISTS', unpack(keys)) < #keys then
    return references, slices
  end
  return blobs, rest
end

for i, entry in ipairs(wanted) do
  if size > MOST_READ then break end
  local row = rows_of({ entry })[1] -- one by one: what is not returned is not read either
  rows[i] = row
  size = size + #(row[2] or '') + #(row[3] or '')
  if row[2] then
    local references, slices = references_in(row[2], entry)
    if entry == ARGV[2] then references, slices = lacking(references, slices) end
    local names, ranges = {}, {}
    for _, name in ipairs(references) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
    for _, slice in ipairs(slices) do
      if not is_read(slice) then want(ranges, { slice }) end
    end
    for j, document in ipairs(#names > 0 and documents(names) or {}) do
      blobs[#blobs + 1] = names[j]
      blobs[#blobs + 1] = document
      size = size + #(document or '')
    end
    for _, part in ipairs(logged(ranges)) do
      items[#items + 1] = part
      if type(part) == 'string' then size = size + #part end
    end
    for _, slice in ipairs(slices) do want(read, { slice }) end
  end
end

local ttl = tonumber(ARGV[1])
local due = ttl > 0 and redis.call('EXISTS', contents) == 1 and use(ttl, {})
return { rows, blobs, items, due }
