-- requires: ancestors
-- Read the ancestors of a checkpoint, newest first, back to where each channel has a value.
-- ARGV[1] is a JSON object with these members:
--   namespace  escaped; absent for the root graph
--   entry      of the checkpoint to begin with; absent for the newest one of the namespace
--   inclusive  whether to read that checkpoint too; false to begin with its parent
--   limit      how many ancestors at most
--   channels   the channels
-- Returns rows, blobs and ranges of logs as read.lua does; the entry to continue with, false at the end
-- of the walk; and 1 if the checkpoint to begin with was deleted, else 0.

local order = cjson.decode(ARGV[1])
local namespace = order.namespace or ''
local entry = order.entry or newest(namespace)
if order.entry and not redis.call('ZSCORE', contents, entry) then return { {}, {}, {}, false, 1 } end
if entry and not order.inclusive then entry = parent_of(entry) end

local open = {}
for _, channel in ipairs(order.channels) do open[channel] = true end
local rows, blobs, ranges, size = {}, {}, {}, 0
local function read(ancestor)
  if #rows == order.limit or size > MOST_READ then return false end
  local row = row_of(ancestor)
  local is_named = row[4] == 1
  -- Where the thread begins, or was pruned, the table of contents names no further ancestor.
  if row[2] or is_named then rows[#rows + 1] = row end
  size = size + #(row[2] or '') + #(row[3] or '')
  return row[2] and is_named
end
local function read_values(ancestor, channels)
  local references, slices = references_of(ancestor)
  for _, channel in ipairs(channels) do
    -- The entries of a channel's blobs and logs have its name after the namespace.
    local name = ':' .. namespace .. ':' .. escape(channel) .. ':'
    for _, slice in ipairs(slices) do
      if slice[1]:sub(2, #name + 1) == name then add_slices(ranges, { slice }) end
    end
    for _, blob in ipairs(references) do
      if blob:sub(2, #name + 1) == name then blobs[#blobs + 1] = { blob, documents({ blob })[1] } end
    end
  end
end
entry = walk(entry, open, read, read_values)
local continues = entry and redis.call('ZSCORE', contents, entry)
return { rows, blobs, read_logs(ranges), continues and entry or false, 0 }
