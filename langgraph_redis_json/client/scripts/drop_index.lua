-- requires: nothing
-- Drop the index ARGV[2], unless the alias ARGV[1] names it now: another process may just have put it
-- there.

local live = redis.pcall('FT.INFO', ARGV[1])
local name = live.err and '' or live[2]
if type(name) == 'table' then name = name.ok end
if name ~= ARGV[2] then redis.call('FT.DROPINDEX', ARGV[2]) end
