-- requires: nothing
-- The server's maxmemory-policy; '' if the user may not ask for it.

local reply = redis.pcall('INFO', 'memory')
return type(reply) == 'string' and reply:match('maxmemory_policy:([%w-]+)') or ''
