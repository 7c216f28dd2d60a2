#!lua flags=allow-oom
-- Deletes a secret, unless an LLM row names it: the look and the delete must be one step.
-- ARGV: name
-- Returns: {'ok'} · {'unknown'} · {'used', llm, …}
local name = ARGV[1]
if call('EXISTS', P .. 'secret:' .. name) == 0 then return { 'unknown' } end
local used = { 'used' }
for _, llm in ipairs(call('SMEMBERS', P .. 'secret-llms:' .. name)) do used[#used + 1] = llm end
if #used > 1 then return used end
call('DEL', P .. 'secret:' .. name)
call('SREM', P .. 'secrets', name)
emit('secret.deleted', name, '')
return { 'ok' }
