#!lua flags=allow-oom
-- Deletes a prompt, also out of the personalities that have it.
-- ARGV: id, owner ('' = an admin's)
-- Returns: {'ok'} · {'unknown'}
local id, owner = ARGV[1], ARGV[2]
local refused = locked(P .. 'prompt:' .. id, id, owner, '')
if refused then return refused end
drop_prompt(id)
return { 'ok' }
