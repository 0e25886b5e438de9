-- Checkpoints with their pending writes and their blobs, each blob once.
-- ARGV[1] is the TTL as use() takes it, 0 if this is not to prolong the thread's life; ARGV[2] is the
-- escaped namespace whose newest checkpoint is wanted, and then come the entries of blobs that are
-- not; or '-', and then come the entries of the wanted checkpoints.
-- Returns the rows of these checkpoints, or of the first of them if they are large, {blob, document,
-- …}, the items of logs as logged() gives them, and what use() returns. A document that is gone is nil.

local wanted, seen = {}, {}
if ARGV[2] == '-' then
  for i = 3, #ARGV do wanted[#wanted + 1] = ARGV[i] end
else
  wanted[1] = newest(ARGV[2])
  for i = 3, #ARGV do seen[ARGV[i]] = true end
end

local rows, blobs, items, size = {}, {}, {}, 0
local read = {} -- ranges of logs: an older checkpoint's are mostly parts of a newer one's

local function is_read(slice)
  for _, range in ipairs(read[slice[1]] or {}) do
    if range[1] <= slice[2] and slice[3] <= range[2] then return true end
  end
  return false
end

for i, entry in ipairs(wanted) do
  if size > MOST_READ then break end
  local row = rows_of({ entry })[1] -- one by one: what is not returned is not read either
  rows[i] = row
  size = size + #(row[2] or '') + #(row[3] or '')
  if row[2] then
    local references, slices = references_in(row[2], entry)
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
