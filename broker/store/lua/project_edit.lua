#!lua
-- Changes the given fields of a project, and only if nobody did so since its editor looked: the look at the version,
-- the look at the secrets and the edit must be one step.
-- ARGV: project (name), id, owner ('' = an admin's), version ('' = whichever), fields (JSON of texts, ready to store)
-- Returns: {'ok'} · {'unknown'} · {'version', the row's} · {'no_secret', name}
local project, id, owner, version, fields = ARGV[1], ARGV[2], ARGV[3], ARGV[4], cjson.decode(ARGV[5])
local key = P .. 'project:' .. project
local refused = locked(key, id, owner, version)
if refused then return refused end
local missing = missing_secret(fields.servers)
if missing then return { 'no_secret', missing } end
if fields.servers then entrust(project, fields.servers) end
rewrite(key, fields)
count_edit(key, now_ms())
emit('project.edited', project, '')
return { 'ok' }
