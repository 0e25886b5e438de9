-- requires: references, escaping
-- Read the ancestors of a checkpoint, newest first, back to where each channel has a value.
-- ARGV[1] is a JSON object with these members:
--   namespace  escaped
--   entry      of the checkpoint to begin with; absent for the newest one of the namespace
--   inclusive  whether to read that checkpoint too; false to begin with its parent
--   limit      how many ancestors at most
--   channels   the channels
-- Returns rows, blobs and ranges of logs as read.lua does; the entry to continue with, false at the end
-- of the walk; and 1 if the checkpoint to begin with was deleted, else 0.

local order = cjson.decode(ARGV[1])
local start = 'c:' .. order.namespace .. ':'
local open, count = {}, #order.channels
for _, channel in ipairs(order.channels) do open[channel] = true end

local function parent_of(child)
  local found = redis.call('JSON.GET', key_of(child), '$.parent_checkpoint_id')
  local id = found and cjson.decode(found)[1]
  return type(id) == 'string' and start .. escape(id)
end

local entry = order.entry or newest(order.namespace)
if order.entry and not redis.call('ZSCORE', contents, entry) then return { {}, {}, {}, false, 1 } end
if entry and not order.inclusive then entry = parent_of(entry) end

local rows, blobs, ranges, size = {}, {}, {}, 0
while entry and count > 0 and #rows < order.limit and size <= MOST_READ do
  local row = row_of(entry)
  local is_named = row[4] == 1
  -- Where the thread begins, or was pruned, the table of contents names no further ancestor.
  if row[2] or is_named then rows[#rows + 1] = row end
  if not row[2] or not is_named then
    entry = false
    break
  end
  size = size + #row[2] + #(row[3] or '')
  for _, channel in ipairs(redis.call('JSON.OBJKEYS', key_of(entry), '.channel_values')) do
    if open[channel] then
      open[channel] = nil
      count = count - 1
      -- The references to the channel's own blob and logs have its name after the namespace.
      local name = ':' .. order.namespace .. ':' .. escape(channel) .. ':'
      local references, slices = references_of(entry)
      for _, slice in ipairs(slices) do
        if slice[1]:sub(2, #name + 1) == name then add_slices(ranges, { slice }) end
      end
      for _, blob in ipairs(references) do
        if blob:sub(2, #name + 1) == name then
          blobs[#blobs + 1] = blob
          blobs[#blobs + 1] = documents({ blob })[1]
        end
      end
    end
  end
  entry = parent_of(entry)
end
local continues = count > 0 and entry and redis.call('ZSCORE', contents, entry)
return { rows, blobs, read_logs(ranges), continues and entry or false, 0 }
