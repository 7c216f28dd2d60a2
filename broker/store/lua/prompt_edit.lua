#!lua
-- Changes the given fields of a prompt, and only if nobody did so since its editor looked: the look at the version,
-- the look at the names beside it and the edit must be one step.
-- ARGV: id, owner ('' = an admin's), version ('' = whichever), fields (JSON of texts, ready to store: name, content)
-- Returns: {'ok'} · {'unknown'} · {'version', the row's} · {'taken'}
local id, owner, version, fields = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local key = P .. 'prompt:' .. id
local refused = locked(key, id, owner, version)
if refused then return refused end
local row = call('HMGET', key, 'name', 'scope', 'of')
if fields.name and fields.name ~= row[1] then
  local names = P .. 'prompt-names:' .. row[2] .. ':' .. row[3]
  if call('HEXISTS', names, fields.name) == 1 then return { 'taken' } end
  call('HDEL', names, row[1])
  call('HSET', names, fields.name, id)
end
rewrite(key, fields)
count_edit(key, now_ms())
emit('prompt.edited', fields.name or row[1], id)
return { 'ok' }
