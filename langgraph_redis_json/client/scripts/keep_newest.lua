-- requires: references, deletion
-- Delete all but the newest ARGV[2] checkpoints of the namespace of a new one, whose entry is ARGV[1], and
-- which stays; and the blobs and logs that only the deleted ones referred to. ARGV[3] is 1 if the new
-- checkpoint has delta channels.
-- Returns how many checkpoints too many are left, which operations/prune.py has to delete: because they
-- are many, or because delta channels may need them; and whether these have delta channels, 1 or 0.

local MOST = 64 -- checkpoints that one call deletes, and that it reads to see what they refer to
local new, keep, has_deltas = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'

-- Remove from a set of entries what a checkpoint refers to.
local function remove_references(set, entry)
  local blobs, slices = references_of(entry)
  for _, blob in ipairs(blobs) do set[blob] = nil end
  for _, slice in ipairs(slices) do set[slice[1]] = nil end
end

local start = new:match('^c:[^:]*:')
local stop = '(' .. start .. AFTER_ALL
local surplus = redis.call('ZLEXCOUNT', contents, '[' .. start, stop) - keep
if surplus <= 0 then return { 0, 0 } end
if has_deltas or surplus > MOST or keep > MOST then return { surplus, has_deltas and 1 or 0 } end

local kept = redis.call('ZREVRANGEBYLEX', contents, stop, '[' .. start, 'LIMIT', 0, keep)
local oldest = kept[#kept]
kept[#kept + 1] = new
for _, channels in ipairs(documents(kept, '$.delta_channels')) do
  if channels and channels ~= '[]' then return { surplus, 1 } end
end
local unneeded, entries = {}, {}
for _, entry in ipairs(redis.call('ZRANGEBYLEX', contents, '[' .. start, '(' .. oldest)) do
  if entry ~= new then
    entries[#entries + 1] = entry
    entries[#entries + 1] = writes_of(entry)
    local blobs, slices = references_of(entry)
    for _, blob in ipairs(blobs) do unneeded[blob] = true end
    for _, slice in ipairs(slices) do unneeded[slice[1]] = true end
  end
end
-- LangGraph saves writes in the background, so some arrive after their checkpoint was deleted.
local late = redis.call(
  'ZRANGEBYLEX', contents, '[' .. writes_of(start), '(' .. writes_of(oldest), 'LIMIT', 0, 1000
)
for _, writes in ipairs(late) do
  if not redis.call('ZSCORE', contents, 'c' .. writes:sub(2)) then entries[#entries + 1] = writes end
end
-- The oldest checkpoint that is kept has most of the references, so it is read first.
for i = #kept - 1, 1, -1 do
  if not next(unneeded) then break end
  remove_references(unneeded, kept[i])
end
if next(unneeded) then remove_references(unneeded, new) end
for entry in pairs(unneeded) do entries[#entries + 1] = entry end
delete_all(entries)
return { 0, 0 }
