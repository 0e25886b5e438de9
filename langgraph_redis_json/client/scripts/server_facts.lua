-- requires: nothing
-- The server's maxmemory-policy and redis_mode; '' for what the user may not ask.

local function fact(section, name)
  local reply = redis.pcall('INFO', section)
  return type(reply) == 'string' and reply:match(name .. ':([%w-]+)') or ''
end
return { fact('memory', 'maxmemory_policy'), fact('server', 'redis_mode') }
