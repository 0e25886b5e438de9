-- Checkpoints with their pending writes and their blobs, each blob once.
-- ARGV[1] is the TTL as use() takes it, 0 if this is not to prolong the thread's life; ARGV[2] is the
-- escaped namespace whose newest checkpoint is wanted, and then come the entries of blobs that are
-- not; or '-', and then come the entries of the wanted checkpoints.
-- Returns the rows of these checkpoints, {blob, document, …}, the items of logs as logged() gives
-- them, and what use() returns. A document that is gone is nil.

local wanted, seen = {}, {}
if ARGV[2] == '-' then
  for i = 3, #ARGV do wanted[#wanted + 1] = ARGV[i] end
else
  wanted[1] = newest(ARGV[2])
  for i = 3, #ARGV do seen[ARGV[i]] = true end
end

local rows, names, ranges = rows_of(wanted), {}, {}
for i, entry in ipairs(wanted) do
  if rows[i][2] then
    local references, slices = references_in(rows[i][2], entry)
    want(ranges, slices)
    for _, name in ipairs(references) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
end

local blobs = {}
if #names > 0 then
  for i, document in ipairs(documents(names)) do
    blobs[#blobs + 1] = names[i]
    blobs[#blobs + 1] = document
  end
end

local ttl = tonumber(ARGV[1])
local due = ttl > 0 and redis.call('EXISTS', contents) == 1 and use(ttl, {})
return { rows, blobs, logged(ranges), due }
