#!lua flags=allow-oom
-- Deletes a project, if it is still the row that the caller saw: with it go its prompts, and agents name it no more.
-- ARGV: project (name), id, owner ('' = an admin's)
-- Returns: {'ok'} · {'unknown'}
local project, id, owner = ARGV[1], ARGV[2], ARGV[3]
local refused = locked(P .. 'project:' .. project, id, owner, '')
if refused then return refused end
drop_prompts_of('project', project)
entrust(project, '[]')
unshelve('project', 'projects', project, id)
emit('project.deleted', project, '')
return { 'ok' }
