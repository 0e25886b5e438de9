-- Checkpoints with their pending writes and their blobs, each blob once.
-- ARGV[3] is the escaped namespace whose newest checkpoint is wanted, or '-' and then come
-- the entries of the wanted ones.
-- Returns {{entry, document, {write, document, …}, named}, …}, {blob, document, …}, and the
-- items of logs as logged() gives them.
-- A document that is gone is nil; named is 1 if the table of contents says that the checkpoint
-- is there.

local wanted = {}
if ARGV[3] == '-' then
  for i = 4, #ARGV do wanted[#wanted + 1] = ARGV[i] end
else
  wanted[1] = newest(ARGV[3])
end

local rows, names, seen, ranges = {}, {}, {}, {}
local found = #wanted > 0 and documents(wanted) or {}
for i, entry in ipairs(wanted) do
  if found[i] then
    local references, slices = references_of(entry)
    want(ranges, slices)
    for _, name in ipairs(references) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  local named = (found[i] or redis.call('ZSCORE', contents, entry)) and 1 or 0
  rows[i] = { entry, found[i], written(entry), named }
end

local blobs = {}
if #names > 0 then
  for i, document in ipairs(documents(names)) do
    blobs[#blobs + 1] = names[i]
    blobs[#blobs + 1] = document
  end
end
return { rows, blobs, logged(ranges) }
