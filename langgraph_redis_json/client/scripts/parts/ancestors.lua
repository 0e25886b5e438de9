-- requires: references
-- The ancestors from which delta channels are rebuilt: for each channel all, back to the nearest ancestor
-- that has a value.

-- Remove from the open channels those that have a value in a checkpoint. Returns the removed ones.
local function close_channels(entry, open)
  local closed = {}
  if redis.call('EXISTS', key_of(entry)) == 0 then return closed end
  for _, channel in ipairs(redis.call('JSON.OBJKEYS', key_of(entry), '.channel_values')) do
    if open[channel] then
      open[channel] = nil
      closed[#closed + 1] = channel
    end
  end
  return closed
end

-- Walk from a checkpoint to its ancestors, until no channel is open. enter(entry) is called for each, and
-- ends the walk if it returns false; then leave(entry, channels that have a value there).
-- Returns the entry to continue with, if channels are left open.
local function walk(entry, open, enter, leave)
  while entry and next(open) and enter(entry) do
    leave(entry, close_channels(entry, open))
    entry = parent_of(entry)
  end
  return next(open) and entry
end
