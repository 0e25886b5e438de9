-- requires: references, deadlines
-- Read checkpoints with their pending writes, blobs and items of logs.
-- ARGV[1] is a JSON object with these members:
--   entries     of the checkpoints; absent for the newest one of the namespace
--   namespace   escaped; absent for the root graph
--   separately  entries of blobs that the caller reads by another command
--   cached      the entry of a checkpoint that the caller has in its cache
--   held        entries of blobs and logs of that checkpoint whose values the caller has
--   ttl         use_thread() takes it; absent if reading does not prolong the thread's life
-- Returns the rows of the checkpoints (row_of), or of the first ones if they are large; {{blob,
-- document}, …}, each blob once, false for one that is gone; ranges of logs (read_logs); what
-- use_thread() returns; and 1 if the thread's table of contents is lost, else 0.

local order = cjson.decode(ARGV[1])
local wanted, held, seen = order.entries or { newest(order.namespace or '') }, {}, {}
for _, entry in ipairs(order.held or {}) do held[entry] = true end
for _, entry in ipairs(order.separately or {}) do seen[entry] = true end

local rows, blobs, logs, size = {}, {}, {}, 0
local covered = {} -- ranges of logs that were read: an older checkpoint's are mostly part of them

local function is_covered(slice)
  for _, range in ipairs(covered[slice[1]] or {}) do
    if range[1] <= slice[2] and slice[3] <= range[2] then return true end
  end
  return false
end

-- The references that the caller does not have. If one that it has is gone, these are all.
local function without_held(references, slices)
  local keys, other_blobs, other_slices = {}, {}, {}
  for _, blob in ipairs(references) do
    if held[blob] then keys[#keys + 1] = key_of(blob) else other_blobs[#other_blobs + 1] = blob end
  end
  for _, slice in ipairs(slices) do
    if held[slice[1]] then
      keys[#keys + 1] = key_of(slice[1])
    else
      other_slices[#other_slices + 1] = slice
    end
  end
  if #keys > 1000 or #keys > 0 and redis.call('EXISTS', unpack(keys)) < #keys then
    return references, slices
  end
  return other_blobs, other_slices
end

for i, entry in ipairs(wanted) do
  if size > MOST_READ then break end
  local row = row_of(entry)
  rows[i] = row
  size = size + #(row[2] or '') + #(row[3] or '')
  if row[2] and may_refer(row[2]) then
    local references, slices = references_of(entry)
    if entry == order.cached then references, slices = without_held(references, slices) end
    local names, ranges = {}, {}
    for _, name in ipairs(references) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
    for _, slice in ipairs(slices) do
      -- A slice that begins before the log was altered by somebody: it must not cover others.
      if slice[2] >= 0 and not is_covered(slice) then
        add_slices(ranges, { slice })
        add_slices(covered, { slice })
      end
    end
    for j, document in ipairs(documents(names)) do
      blobs[#blobs + 1] = { names[j], document }
      size = size + #(document or '')
    end
    for _, range in ipairs(read_logs(ranges)) do
      logs[#logs + 1] = range
      size = size + #(range[4] or '')
    end
  end
end

local new_deadline, is_lost = false, 0
if order.ttl or not rows[1] or rows[1][4] == 0 then
  if redis.call('EXISTS', contents) == 0 then
    -- The thread document expires with the table of contents, so that was evicted or deleted by hand.
    is_lost = redis.call('EXISTS', key_of('t'))
  elseif order.ttl then
    new_deadline = use_thread(order.ttl, {})
  end
end
return { rows, blobs, logs, new_deadline, is_lost }
