#!lua flags=no-writes
-- What a client means by the model `agent/<name>`. LLMs and aliases of just that name come first. Which LLM is to
-- answer for the agent is told with it, so that a call to an agent is one look more than a call to an LLM.
-- ARGV: asked (the whole model), agent (the name in it), stale_ms, expire_ms
-- Returns: {'llm'} (there is such an LLM or alias) · {'unknown'} · {'offline'} · {'no_llm', llm} · {'no_model', model}
--          · {'agent', llm, systemPrompt, defaultParams}
local asked, agent, stale_ms, expire_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
if stands(asked, now, stale_ms, expire_ms) then return { 'llm' } end
for _, llm in ipairs(call('SMEMBERS', P .. 'alias:' .. asked)) do
  if stands(llm, now, stale_ms, expire_ms) then return { 'llm' } end
end

local a = call('HMGET', P .. 'agent:' .. agent, 'kind', 'status', 'inactiveSince', 'session', 'llm', 'model',
  'systemPrompt', 'defaultParams')
if not a[1] then return { 'unknown' } end
if a[1] == 'virtual' then
  local status, _, gone = seen('agent:' .. agent, a[2], a[3], a[4], now, stale_ms, expire_ms)
  if gone then return { 'unknown' } end
  if status == 'inactive' then return { 'offline' } end
end

-- Of the live LLMs with that model the one that is most awake; among equals the first by name.
local function awake_with(model)
  local best, best_rank
  local names = call('SMEMBERS', P .. 'model-llms:' .. model)
  table.sort(names)
  for _, name in ipairs(names) do
    local row = call('HMGET', P .. 'llm:' .. name, 'kind', 'status', 'inactiveSince', 'session')
    local rank = row[1] == 'public' and 0 or nil
    if row[1] == 'virtual' then
      local status, _, gone = seen('llm:' .. name, row[2], row[3], row[4], now, stale_ms, expire_ms)
      local session = session_of(row[4])
      if not gone and status ~= 'inactive' and session and session.reachable and not session.leaving then
        rank = (status == 'active' and 0 or 2) + (session.open and 0 or 1)
      end
    end
    if rank and (not best or rank < best_rank) then best, best_rank = name, rank end
  end
  return best
end

local llm = a[5]
if llm then
  if not stands(llm, now, stale_ms, expire_ms) then return { 'no_llm', llm } end
else
  llm = awake_with(a[6])
  if not llm then return { 'no_model', a[6] } end
end
return { 'agent', llm, a[7] or '', a[8] or '{}' }
