#!lua
-- Changes the given fields of a personality, and only if nobody did so since its editor looked: the look at the
-- version, the look at the prompts and the edit must be one step.
-- ARGV: personality (name), id, owner ('' = an admin's), version ('' = whichever), fields (JSON of texts, ready to
--       store), prompts (JSON list of {id, name, scope, of}; '' = as they are)
-- Returns: {'ok'} · {'unknown'} · {'version', the row's} · {'no_prompt', which}
local personality, id, owner, version, fields = ARGV[1], ARGV[2], ARGV[3], ARGV[4], cjson.decode(ARGV[5])
local key = P .. 'personality:' .. personality
local refused = locked(key, id, owner, version)
if refused then return refused end
if ARGV[6] ~= '' then
  local prompts, missing = prompts_called(cjson.decode(ARGV[6]))
  if not prompts then return { 'no_prompt', missing } end
  compile(personality, prompts)
end
rewrite(key, fields)
count_edit(key, now_ms())
emit('personality.edited', personality, '')
return { 'ok' }
