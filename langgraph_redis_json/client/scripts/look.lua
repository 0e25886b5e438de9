-- requires: staging
-- For each entry that ARGV has: 1 if the table of contents names it, or marks it for deletion; 1 if it is
-- the document of an import that is not finished; and its deadline in milliseconds (-1 for none, -2 if it
-- does not exist).

local found = {}
for _, entry in ipairs(ARGV) do
  local mark = 'x' .. entry .. ' '
  local is_named = redis.call('ZSCORE', contents, entry)
    or redis.call('ZRANGEBYLEX', contents, '[' .. mark, '(' .. mark .. AFTER_ALL)[1]
  found[#found + 1] = is_named and 1 or 0
  found[#found + 1] = is_staged(entry) and 1 or 0
  found[#found + 1] = redis.call('PEXPIRETIME', key_of(entry))
end
return found
