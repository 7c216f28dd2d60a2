#!lua flags=allow-oom
-- Ends a batch, with its files' rows in the same step: who sees it ended finds its answers. One that was to be cancelled
-- is cancelled, also if it was done before whoever ran it heard of that: its client was told so.
-- ARGV: id, epoch, status (completed | failed | expired | cancelled), now_s, ttl_ms (of the batch), output (file; '' none), its bytes,
--       errors (file; '' none), its bytes, then fields and values
-- Returns: 'lost' (another epoch has it, or it is over) · 'ok'
local id, key, status, ttl_ms = ARGV[1], P .. 'batch:' .. ARGV[1], ARGV[3], tonumber(ARGV[5])
local b = call('HMGET', key, 'epoch', 'owner', 'status', 'lasts')
if b[1] ~= ARGV[2] or not call('ZSCORE', P .. 'batches', id) then return 'lost' end
if b[3] == 'cancelling' and status ~= 'failed' then status = 'cancelled' end
call('HSET', key, 'status', status, status .. '_at', ARGV[4])
if #ARGV > 9 then call('HSET', key, unpack(ARGV, 10)) end
for i, field in ipairs({ 'output', 'error' }) do
  local file = ARGV[4 + 2 * i]
  if file ~= '' then
    call('HSET', key, field, file)
    put_file(file, b[2], id .. '_' .. field .. '.jsonl', 'batch_output', ARGV[5 + 2 * i], ARGV[4],
      tonumber(b[4]) * 1000)
  end
end
call('ZREM', P .. 'batches', id)
call('PEXPIRE', key, int(ttl_ms))
index_row(P .. 'batches-of:' .. b[2], id, ttl_ms)
return 'ok'
