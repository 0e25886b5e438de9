-- requires: nothing
-- Spell one part of a name as keys.escape does.

local SPELLING = {
  [':'] = ';.', [';'] = ';;', ['{'] = '|(', ['|'] = '||', ['}'] = '~)', ['~'] = '~~',
  ['\0'] = '\1\1', ['\1'] = '\1\2',
}
local function escape(part) return (part:gsub('[:;{|}~%z\1]', SPELLING)) end
