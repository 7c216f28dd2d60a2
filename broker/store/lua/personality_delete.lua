#!lua flags=allow-oom
-- Deletes a personality, if it is still the row that the caller saw: its prompts stay, and agents name it no more.
-- ARGV: personality (name), id, owner ('' = an admin's)
-- Returns: {'ok'} · {'unknown'}
local personality, id, owner = ARGV[1], ARGV[2], ARGV[3]
local refused = locked(P .. 'personality:' .. personality, id, owner, '')
if refused then return refused end
compile(personality, {})
unshelve('personality', 'personalities', personality, id)
emit('personality.deleted', personality, '')
return { 'ok' }
