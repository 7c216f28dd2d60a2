#!lua flags=allow-oom
-- Deletes one agent, if it is still the row that the caller saw, and its prompts. An LLM that it kept beyond its time
-- goes with the next sweep.
-- ARGV: agent (name), id, owner ('' = an admin's)
-- Returns: {'ok'} · {'unknown'}
local agent, id, owner = ARGV[1], ARGV[2], ARGV[3]
local row = call('HMGET', P .. 'agent:' .. agent, 'id', 'owner')
if row[1] ~= id or (owner ~= '' and owner ~= row[2]) then return { 'unknown' } end
drop_agent(agent)
drop_prompts_of('agent', agent)
return { 'ok' }
