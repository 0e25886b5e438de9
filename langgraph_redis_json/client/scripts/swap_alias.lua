-- requires: nothing
-- Let the alias ARGV[1] name the index ARGV[3], if it still names ARGV[2] ('' for no index). Another
-- process may have put an index there meanwhile, with fields that this one lacks.
-- Returns 1 if it did, else 0.

local live = redis.pcall('FT.INFO', ARGV[1])
local name = live.err and '' or live[2]
if type(name) == 'table' then name = name.ok end
if name ~= ARGV[2] then return 0 end
local reply = redis.pcall('FT.ALIASUPDATE', ARGV[1], ARGV[3])
return reply.err and 0 or 1
