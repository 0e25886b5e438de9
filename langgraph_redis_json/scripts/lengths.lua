-- How many items each log has whose entry follows from ARGV[3] on, -1 for what is none.

local lengths = {}
for i = 3, #ARGV do lengths[#lengths + 1] = length_of(ARGV[i]) end
return lengths
