-- requires: contents
-- Run each command that scripts and operations use once, and leave nothing behind.
-- Returns {{command, error}, …} for the commands that failed; none if the server is full.

local probe = key_of('b:')
local failures = {}
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    failures[#failures + 1] = { (select(1, ...)), reply.err }
  end
end

try('JSON.SET', probe, '$', '{"a":{},"b":[]}')
if failures[1] and failures[1][2]:find('^OOM') then return {} end
try('JSON.MERGE', probe, '$', '{"a":{}}')
try('JSON.ARRAPPEND', probe, '$.b', '1')
try('JSON.ARRLEN', probe, '$.b')
try('JSON.ARRTRIM', probe, '$.b', 0, 0)
try('JSON.GET', probe, '.')
try('JSON.MGET', probe, '.')
try('JSON.OBJKEYS', probe, '.a')
try('JSON.TYPE', probe, '$.a')
try('JSON.DEL', probe, '$.a')
try('ZADD', contents, 0, 'b:')
try('ZRANGEBYLEX', contents, '-', '+')
try('ZREVRANGEBYLEX', contents, '+', '-')
try('ZMSCORE', contents, 'b:')
try('ZSCORE', contents, 'b:')
try('ZCARD', contents)
try('ZLEXCOUNT', contents, '-', '+')
try('ZREM', contents, 'b:')
try('EXISTS', probe)
try('PEXPIREAT', probe, '9000000000000')
try('PEXPIRETIME', probe)
try('PERSIST', probe)
try('TIME')
try('SCAN', 0, 'COUNT', 1)
try('UNLINK', probe, contents)
try('FT._LIST')
return failures
