-- requires: ancestors
-- Find the ancestors from which the delta channels of checkpoints are rebuilt.
-- ARGV[1] is a JSON array of walks: {entry, channels} to begin with the checkpoint itself; channels are
-- false to begin with its parent, for its own delta channels.
-- Returns the entries of ancestors, and a JSON array of walks to continue with.

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
    if #needed == 250 then return false end
    -- An earlier walk has gone back from here for these channels.
    for channel in pairs(open) do
      local step = channel .. ':' .. ancestor
      if walked[step] then open[channel] = nil end
      walked[step] = true
    end
    return next(open)
  end, function(ancestor) needed[#needed + 1] = ancestor end)
  if next_entry then
    channels = {}
    for channel in pairs(open) do channels[#channels + 1] = channel end
    unfinished[#unfinished + 1] = { next_entry, channels }
  end
end
return { needed, #unfinished > 0 and cjson.encode(unfinished) or '[]' }
