-- requires: nothing
-- 1 if Search can search all nodes of a cluster, else 0. Only a Search with a coordinator knows this
-- command, and refuses it to scripts.

local reply = redis.pcall('SEARCH.CLUSTERINFO')
return reply.err:lower():find('unknown', 1, true) and 0 or 1
