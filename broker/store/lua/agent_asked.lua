#!lua flags=no-writes
-- What a client means by the model `agent/<name>`. LLMs, aliases, pools and models of just that name come first. All that
-- it takes to answer for the agent is told with it, so that a call to an agent is one look more than a call to an LLM.
-- ARGV: asked (the whole model), agent (the name in it), stale_ms, expire_ms
-- Returns: {'llm'} (there is such an LLM, alias, pool or model) · {'unknown'} · {'offline'} · {'no_llm', llm} · {'no_model', model}
--          · {'agent', …} as shared/personas.lua tells
local asked, agent, stale_ms, expire_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
if stands(asked, now, stale_ms, expire_ms) then return { 'llm' } end
if call('EXISTS', P .. 'pool:' .. asked) == 1 then return { 'llm' } end
for _, family in ipairs({ 'alias:', 'model-llms:' }) do
  for _, llm in ipairs(call('SMEMBERS', P .. family .. asked)) do
    if stands(llm, now, stale_ms, expire_ms) then return { 'llm' } end
  end
end
local verdict, told = persona_of(agent, nil, now, stale_ms, expire_ms)
if verdict ~= 'agent' then return { verdict, told } end
table.insert(told, 1, verdict)
return told
