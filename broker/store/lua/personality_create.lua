#!lua
-- Makes a personality, if its name is free and its prompts are there: a look that came before could miss the delete
-- of one.
-- ARGV: personality (name), id, owner, fields (JSON of texts, ready to store), prompts (JSON list of {id, name, scope,
--       of}, of which the id counts, else the name)
-- Returns: {'ok'} · {'taken'} · {'no_prompt', which}
local personality, id, owner, fields = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
if call('EXISTS', P .. 'personality:' .. personality) == 1 then return { 'taken' } end
local prompts, missing = prompts_called(cjson.decode(ARGV[5]))
if not prompts then return { 'no_prompt', missing } end
shelve('personality', 'personalities', personality, id, owner, now_ms())
rewrite(P .. 'personality:' .. personality, fields)
compile(personality, prompts)
emit('personality.created', personality, '')
return { 'ok' }
