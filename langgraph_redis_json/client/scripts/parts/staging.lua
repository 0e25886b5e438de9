-- requires: deadlines
-- An import stores the documents of a thread before the thread has a table of contents, so that nobody
-- reads half a thread. Meanwhile the sorted set importing:{thread} names the documents, and they have a
-- deadline, so that nothing is left of an import that is never finished. Its entry i:<checksum> says
-- which content is imported.

local staging = prefix .. 'importing:' .. thread
