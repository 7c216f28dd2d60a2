-- The lines that a pool's member serves: its own and its pools', in turns; and how a request of a pool's line becomes its own.

local served
local function serving()
  if served then return served end

  -- Whether of a pool's members only broken ones are there.
  local function only_broken(key)
    local first = call('ZRANGE', P .. 'order:' .. key, 0, 0, 'WITHSCORES')[2]
    return first and tonumber(first) == BROKEN and call('ZCOUNT', P .. 'order:' .. key, FULL, FULL) == 0
  end

  -- Whose turn it is in the lines that an LLM serves, but for those whom it failed already. Each line has a clock of its
  -- own, so what counts is how far its first is from that; and a line that is passed over moves on by one turn, so that none
  -- starves beside another. Returns the task and its line; nil for nobody.
  local function next_for(llm, lines)
    local best, best_score, best_line
    local firsts = {}
    for i, line in ipairs(lines) do
      local waiting = call('ZRANGE', P .. 'waiting:' .. line, 0, i == 1 and 0 or 15, 'WITHSCORES')
      for j = 1, #waiting, 2 do
        local left_out = i > 1 and call('HGET', P .. 'task:' .. waiting[j], 'not') or ''
        if not string.find(left_out, '\n' .. llm .. '\n', 1, true) then
          local clock = tonumber(call('HGET', P .. 'load:' .. line, 'clock') or '0')
          local score = tonumber(waiting[j + 1]) - clock * STEP
          if not best or score < best_score then best, best_score, best_line = waiting[j], score, line end
          firsts[#firsts + 1] = line
          break
        end
      end
    end
    for _, line in ipairs(firsts) do
      if line ~= best_line then call('HINCRBY', P .. 'load:' .. line, 'clock', 1) end
    end
    return best, best_line
  end

  -- Makes a request that waited in a pool's line its member's; of one that is broken it is to be told how it did, as the
  -- only one that `probes` it or because there is nobody else. Returns the whole frame, and what its asker is told.
  local function give_to(llm, tid, frame, tail, now, pool, probes)
    local key = P .. 'task:' .. tid
    local whole = frame .. cjson.encode(llm) .. tail
    local of = call('HMGET', key, 'request', 'affinity')
    call('HSET', key, 'frame', whole, 'llm', llm)
    call('HDEL', key, 'tail', 'not', 'affinity', 'wakeLimit', 'waking')
    if of[2] then
      call('SET', P .. 'affinity:' .. of[2], llm, 'PX', 900000)
      orders().count_turn(pool, llm, orders().class_of({}, orders().membership(pool, llm) or 0), now)
    end
    -- Of a job's attempt nothing is told but what the job itself tells.
    if of[1] then orders().explain(of[1], { at = now, served = llm, task = tid }) end
    local health = P .. 'health:' .. llm
    if call('HEXISTS', health, 'openUntil') == 0 then return whole, part('Q', llm) end
    if probes then call('HSET', health, 'openUntil', int(now + PROBE_MS), 'probe', tid) end
    return whole, part('Q', llm .. '\n' .. (probes and 'probe' or 'last resort'))
  end

  -- The lines that an LLM serves: its own, then those of its pools. One that is broken serves no pool's, while others can,
  -- but to one that `probes` it: failing fast must not bring it more than them.
  local function lines_of(llm, keys, probes)
    local lines = { llm }
    local broken = call('HEXISTS', P .. 'health:' .. llm, 'openUntil') == 1
    for _, key in ipairs(keys) do
      if not broken or probes or only_broken(key) then lines[#lines + 1] = '\1' .. key end
    end
    return lines
  end

  served = { lines_of = lines_of, next_for = next_for, give_to = give_to }
  return served
end
