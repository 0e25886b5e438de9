-- requires: staging
-- Delete up to ARGV[1] documents of an import that is not to be finished, except those that the thread
-- has meanwhile. Returns how many are left. (parts/staging.lua)

local entries = redis.call('ZRANGEBYLEX', staging, '-', '+', 'LIMIT', 0, tonumber(ARGV[1]))
for _, entry in ipairs(entries) do
  local name = entry:match('^p(.*)') or entry
  if entry:sub(1, 2) ~= 'i:' and not redis.call('ZSCORE', contents, name) then
    redis.call('UNLINK', key_of(name))
  end
end
if #entries > 0 then redis.call('ZREM', staging, unpack(entries)) end
return redis.call('ZCARD', staging)
