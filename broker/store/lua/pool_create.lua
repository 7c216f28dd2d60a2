#!lua
-- Makes a pool's row. The look and the change must be one step, or of two pools of one name one would be lost.
-- ARGV: name, owner, fields (JSON of texts, ready to store)
-- Returns: 'ok' · 'taken'
local name, owner, fields = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local key, now = P .. 'pool:' .. name, int(now_ms())
if call('EXISTS', key) == 1 then return 'taken' end
call('HSET', key, 'name', name, 'owner', owner, 'version', 1, 'createdAt', now, 'updatedAt', now)
for field, value in pairs(fields) do call('HSET', key, field, value) end
call('SADD', P .. 'pools', name)
emit('pool.created', name, '')
return 'ok'
