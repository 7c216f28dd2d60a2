#!lua
-- Makes a project, if its name is free and the secrets of its tool servers are there: a look that came before could
-- miss another project of that name, or a secret's delete.
-- ARGV: project (name), id, owner, fields (JSON of texts, ready to store)
-- Returns: {'ok'} · {'taken'} · {'no_secret', name}
local project, id, owner, fields = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
if call('EXISTS', P .. 'project:' .. project) == 1 then return { 'taken' } end
local missing = missing_secret(fields.servers)
if missing then return { 'no_secret', missing } end
entrust(project, fields.servers)
shelve('project', 'projects', project, id, owner, now_ms())
rewrite(P .. 'project:' .. project, fields)
emit('project.created', project, '')
return { 'ok' }
