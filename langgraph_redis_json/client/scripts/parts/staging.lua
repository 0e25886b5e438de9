-- requires: deadlines
-- An import stores the documents of a thread before the thread has a table of contents, so that nobody
-- reads half a thread. Meanwhile the sorted set importing:{thread} names the documents, and they have a
-- deadline, so that nothing is left of an import that is never finished. Its entry i:<checksum> says
-- which content is imported; p<entry> is a log that lacks items.

local staging = prefix .. 'importing:' .. thread

-- Whether an import is storing the document of an entry.
local function is_staged(entry)
  return redis.call('ZSCORE', staging, entry) or redis.call('ZSCORE', staging, 'p' .. entry)
end
