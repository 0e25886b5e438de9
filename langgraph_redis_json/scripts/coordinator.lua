-- Whether Search can look into all nodes of a cluster: then it has this command, which no script
-- may run.

local reply = redis.pcall('SEARCH.CLUSTERINFO')
return reply.err:lower():find('unknown', 1, true) and 0 or 1
