-- requires: thread_document, deadlines
-- A thread in short: {1 if its table of contents exists, its deadline in milliseconds (-1 for none), the
-- pending deadline (false for none), the entry of its newest root checkpoint (false for none), what its
-- thread document should be and is: {checkpoint id, status}, each false if there is none}.

local entry, wanted, found = newest(''), false, false
local key = entry and key_of(entry)
if entry and redis.call('EXISTS', key) == 1 then
  local document = redis.pcall('JSON.GET', key, '$.checkpoint_id', '$.has_next')
  if type(document) == 'string' then
    document = cjson.decode(document)
    local has_next = document['$.has_next'][1] == true
    wanted = { document['$.checkpoint_id'][1] or '', status_of(writes_of(entry), has_next) }
  end
end
local document = redis.pcall('JSON.GET', key_of('t'), '$.checkpoint_id', '$.status')
if type(document) == 'string' and redis.call('ZSCORE', contents, 't') then
  document = cjson.decode(document)
  found = { tostring(document['$.checkpoint_id'][1]), tostring(document['$.status'][1]) }
end
return {
  redis.call('EXISTS', contents), redis.call('PEXPIRETIME', contents), pending_deadline() or false,
  entry or false, wanted, found,
}
