#!lua
-- Makes a prompt, if what it is to belong to is there and the caller's, and has no prompt of that name. One step, or
-- the project or agent could go in between, and the prompt would stay with nobody.
-- ARGV: id, owner, name, content, scope (global | project | agent), of (id or name of that, '' when global),
--       whose (project or agent it must be; '' = anybody's, for an admin), most (prompts of one), stale_ms, expire_ms
-- Returns: {'ok'} · {'no_project'} · {'no_agent'} · {'taken'} · {'full'}
local id, owner, name, content, scope, of, whose = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local now = now_ms()
if scope ~= 'global' then
  if scope == 'project' then of = entry_called(scope, of) else of = agent_called(of, now, tonumber(ARGV[9]), tonumber(ARGV[10])) end
  if not of then return { 'no_' .. scope } end
  if whose ~= '' and call('HGET', P .. scope .. ':' .. of, 'owner') ~= whose then return { 'no_' .. scope } end
end
local names = P .. 'prompt-names:' .. scope .. ':' .. of
if call('HEXISTS', names, name) == 1 then return { 'taken' } end
if scope ~= 'global' and call('HLEN', names) >= tonumber(ARGV[8]) then return { 'full' } end
call('HSET', P .. 'prompt:' .. id, 'id', id, 'name', name, 'content', content, 'scope', scope, 'of', of,
  'owner', owner, 'version', 1, 'createdAt', int(now), 'updatedAt', int(now))
call('SADD', P .. 'prompts', id)
call('HSET', names, name, id)
emit('prompt.created', name, id)
return { 'ok' }
