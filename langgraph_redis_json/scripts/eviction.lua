-- The server's maxmemory-policy, '' where the user may not ask.

local reply = redis.pcall('INFO', 'memory')
return type(reply) == 'string' and reply:match('maxmemory_policy:([%w-]+)') or ''
