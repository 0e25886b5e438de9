-- requires: ancestors
-- Find the ancestors from which the delta channels of checkpoints are rebuilt.
-- ARGV[1] is a JSON array of walks: {entry, channels} to begin with the checkpoint itself; channels are
-- false to begin with its parent, for its own delta channels.
-- Returns the ancestors, each with the channels that were looked for: {entry, channel, …}; and a JSON
-- array of walks to continue with.

local MOST = 250 -- ancestors that one call finds, so that other clients need not wait long

local needed, walked, unfinished = {}, {}, {}
for _, start in ipairs(cjson.decode(ARGV[1])) do
  local entry, channels, open = start[1], start[2], {}
  if not channels then
    local found = redis.call('JSON.GET', key_of(entry), '$.delta_channels')
    channels = found and cjson.decode(found)[1] or {}
  end
  for _, channel in ipairs(channels) do open[channel] = true end
  if not start[2] and next(open) then
    close_channels(entry, open)
    entry = parent_of(entry)
  end
  local next_entry = walk(entry, open, function(ancestor)
    if #needed == MOST then return false end
    local found = { ancestor }
    -- An earlier walk has gone back from here for these channels.
    for channel in pairs(open) do
      local step = channel .. ':' .. ancestor
      if walked[step] then open[channel] = nil else found[#found + 1] = channel end
      walked[step] = true
    end
    if not next(open) then return false end
    needed[#needed + 1] = found
    return true
  end, function() end)
  if next_entry then
    channels = {}
    for channel in pairs(open) do channels[#channels + 1] = channel end
    unfinished[#unfinished + 1] = { next_entry, channels }
  end
end
return { needed, #unfinished > 0 and cjson.encode(unfinished) or '[]' }
