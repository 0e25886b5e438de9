-- Walk from a checkpoint to its ancestors, newest first.
-- ARGV[1] is the escaped namespace, ARGV[2] the checkpoint's entry or '' for the newest one,
-- ARGV[3] 'after' to begin with its parent or 'from' to begin with itself, ARGV[4] how many
-- ancestors at most; then come the channels: the walk ends where each has a value.
-- Returns what read.lua does, and the entry to go on from: '' if the walk has ended, nil if the
-- checkpoint to begin with, which somebody has seen before, was deleted since.

local namespace, entry = ARGV[1], ARGV[2]
local open, count = {}, 0
for i = 5, #ARGV do
  open[ARGV[i]] = true
  count = count + 1
end

local function parent_of(child)
  local found = redis.call('JSON.GET', key_of(child), '$.parent_checkpoint_id')
  local id = found and cjson.decode(found)[1]
  return type(id) == 'string' and 'c:' .. namespace .. ':' .. escape(id) or ''
end

if entry == '' then
  entry = newest(namespace) or ''
elseif not redis.call('ZSCORE', contents, entry) then
  return { {}, {}, {}, false }
end
if ARGV[3] == 'after' and entry ~= '' then entry = parent_of(entry) end

local rows, blobs, ranges, size = {}, {}, {}, 0
while entry ~= '' and count > 0 and #rows < tonumber(ARGV[4]) and size <= MOST_READ do
  local row = rows_of({ entry })[1]
  if not row[2] or row[4] == 0 then
    -- The thread begins here, or was pruned up to here, unless the contents say otherwise.
    if row[4] == 1 then rows[#rows + 1] = row end
    entry = ''
    break
  end
  rows[#rows + 1] = row
  size = size + #row[2] + #(row[3] or '')
  for _, channel in ipairs(redis.call('JSON.OBJKEYS', key_of(entry), '.channel_values')) do
    if open[channel] then
      open[channel] = nil
      count = count - 1
      local start = ':' .. namespace .. ':' .. escape(channel) .. ':'
      local references, slices = references_in(row[2], entry)
      for _, slice in ipairs(slices) do
        if slice[1]:sub(2, #start + 1) == start then want(ranges, { slice }) end
      end
      for _, blob in ipairs(references) do
        if blob:sub(2, #start + 1) == start then
          blobs[#blobs + 1] = blob
          blobs[#blobs + 1] = documents({ blob })[1]
        end
      end
    end
  end
  entry = parent_of(entry)
end
local more = count > 0 and entry ~= '' and redis.call('ZSCORE', contents, entry)
return { rows, blobs, logged(ranges), more and entry or '' }
