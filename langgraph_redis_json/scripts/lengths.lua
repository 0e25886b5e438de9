-- How many items each log has whose entry follows from ARGV[1] on, -1 for what is none.

local lengths = {}
for i = 1, #ARGV do lengths[#lengths + 1] = length_of(ARGV[i]) end
return lengths
