#!lua flags=allow-oom
-- Deletes one LLM row, unless agents are pinned to it.
-- ARGV: llm (name), owner ('' = an admin's)
-- Returns: {'ok'} · {'unknown'} · {'pinned', agent, …}
local llm, owner = ARGV[1], ARGV[2]
local row = call('HMGET', P .. 'llm:' .. llm, 'id', 'owner')
if not row[1] or (owner ~= '' and row[2] ~= owner) then return { 'unknown' } end
local pinned = call('SMEMBERS', P .. 'llm-agents:' .. llm)
if #pinned > 0 then return { 'pinned', unpack(pinned) } end
drop_llm(llm)
return { 'ok' }
