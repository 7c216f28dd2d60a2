#!lua flags=allow-oom
-- Deletes a secret, unless an LLM row or a project names it: the look and the delete must be one step.
-- ARGV: name
-- Returns: {'ok'} · {'unknown'} · {'used', llms (how many), llm …, project …}
local name = ARGV[1]
if call('EXISTS', P .. 'secret:' .. name) == 0 then return { 'unknown' } end
local llms = call('SMEMBERS', P .. 'secret-llms:' .. name)
local used = { 'used', #llms }
for _, llm in ipairs(llms) do used[#used + 1] = llm end
for _, project in ipairs(call('SMEMBERS', P .. 'secret-projects:' .. name)) do used[#used + 1] = project end
if #used > 2 then return used end
call('DEL', P .. 'secret:' .. name)
call('SREM', P .. 'secrets', name)
emit('secret.deleted', name, '')
return { 'ok' }
