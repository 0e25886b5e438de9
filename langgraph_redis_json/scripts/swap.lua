-- Let the alias ARGV[3] name the index ARGV[5], if it still names ARGV[4], '' for none: another
-- process may have put an index there meanwhile, with fields that this one has not.
-- Returns whether it does.

local live = redis.pcall('FT.INFO', ARGV[3])
local name = live.err and '' or live[2]
if type(name) == 'table' then name = name.ok end
if name ~= ARGV[4] then return 0 end
local reply = redis.pcall('FT.ALIASUPDATE', ARGV[3], ARGV[5])
return reply.err and 0 or 1
