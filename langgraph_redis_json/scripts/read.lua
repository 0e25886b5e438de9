-- Checkpoints with their pending writes and their blobs, each blob once.
-- ARGV[3] is the escaped namespace whose newest checkpoint is wanted, and then come the entries of
-- blobs that are not; or '-', and then come the entries of the wanted checkpoints.
-- Returns the rows of these checkpoints, {blob, document, …}, and the items of logs as logged()
-- gives them. A document that is gone is nil.

local wanted, seen = {}, {}
if ARGV[3] == '-' then
  for i = 4, #ARGV do wanted[#wanted + 1] = ARGV[i] end
else
  wanted[1] = newest(ARGV[3])
  for i = 4, #ARGV do seen[ARGV[i]] = true end
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
return { rows, blobs, logged(ranges) }
