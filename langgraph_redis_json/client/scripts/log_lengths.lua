-- requires: contents
-- How many items each log has whose entry ARGV names; -1 if there is no such log.

local lengths = {}
for i, entry in ipairs(ARGV) do lengths[i] = length_of(entry) end
return lengths
