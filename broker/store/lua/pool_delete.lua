#!lua flags=allow-oom
-- Deletes a pool's row; who waits in its line is refused.
-- ARGV: name
-- Returns: 'ok' · 'unknown'
local name = ARGV[1]
if call('DEL', P .. 'pool:' .. name) == 0 then return 'unknown' end
call('SREM', P .. 'pools', name)
forget_pool('p:' .. name)
refuse_line(line_of_pool('p:' .. name), failure(404, 'model_not_found', 'this pool was deleted'))
emit('pool.deleted', name, '')
return 'ok'
