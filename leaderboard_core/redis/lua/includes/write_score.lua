--[[
One score write as a function of its KEYS and ARGV, which write_score describes, so that a batch can call it
for each of its scores. A call either does the whole write or, refused, changes nothing. `entry` is nil for a score on the
main board, which stands on the player's card, else what entry_of has made for another board. `given_metadata`
is that of such a score as JSON, '' or nil for none: entries have their own. Needs token_bucket,
place_member and change_entry.

`batch` is nil for a write by itself. Those of a batch share the time (`now`), the queue's `length`, and the `level` of the
region's bucket with whether a token was `taken`, and leave it to the batch to write the bucket, the `scores` of the main
board (score, user_id, ...) and of others, and the `events`: by commands of their own they would be a third of Redis' work.

Numbers stay strings or go through '%d', which is exact for whole numbers and cheaper than '%.0f': tostring and
cjson print 14 digits only. A string is compared as one where that will do: making it a number costs as much as 50 steps.
]]
-- Locals are several times cheaper than looking a function up in a table: a fifth of the script's time.
local call, format = redis.call, string.format
-- Of the rules of a board: bounds, step, refusal, and behind what a card does not go by submits and bytes of metadata.
local RULES_OF_CARD = '^(%S+) (%S+) (%S+) (%S+) %S+ %S+ %S+ (%S+) (%S+)$'

local function write_score(KEYS, ARGV, entry, given_metadata, batch)
  local operation, user_id, region, name, amount = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local issued_at, fingerprint, key_hash = ARGV[19] or '', ARGV[20] or '', ARGV[21] or ''

  local now = batch and batch.now
  if not now then
    local time = call('TIME')
    now = time[1] * 1000000 + time[2]
  end
  local stored = call('HMGET', KEYS[2], 'region', 'name', 'score', 'updated_at', 'protected', 'since', 'clock', 'credential', 'credential_at', 'submits', 'metadata')
  local exists = stored[1] and true or false

  local keep_answer = ARGV[11] ~= '0' and tonumber(ARGV[11])
  if keep_answer then
    local kept = call('GET', KEYS[8])
    if kept then
      local answer = {'replay'}
      for part in string.gmatch(kept, '[^\n]+') do
        answer[#answer + 1] = part
      end
      -- The same end again: a write, for whoever waits until a replica has what the answer rests on.
      call('PEXPIREAT', KEYS[8], call('PEXPIRETIME', KEYS[8]))
      -- What a player was answered before it was deleted is no answer for its successor.
      local deleted_at = issued_at ~= '' and answer[7]
        and (stored[6] or call('GET', ARGV[14] .. user_id))
      if not deleted_at or tonumber(answer[7]) > tonumber(deleted_at) then
        return answer
      end
    elseif exists then
      -- Redis may have lost the answer, and not the write: the player's last one was done with this key then.
      local another = stored[6] and issued_at ~= '' and tonumber(issued_at) <= tonumber(stored[6])
      if entry and entry.key then
        local hash, kept_fingerprint = string.match(entry.more, '^ @([^:]+):(%S+)')
        if hash == key_hash and now - tonumber(entry.clock) < keep_answer * 1000000 and not another then
          call('HSET', entry.hash, entry.board.field, entry.text) -- as above
          local score = with_sign(entry.key, entry.board.rules[6])
          return {'replay', kept_fingerprint, 'ok', stored[1], stored[2], score, entry.clock, '0'}
        end
      elseif not entry then
        local last = call('HGET', KEYS[2], 'key') or ''
        local key, kept_fingerprint, created, at = string.match(last, '^(%S+) (%S+) (%d) (%d+)')
        if key == key_hash and at == stored[4] and now - tonumber(at) < keep_answer * 1000000 and not another then
          call('HSET', KEYS[2], 'key', last) -- as above
          return {'replay', kept_fingerprint, 'ok', stored[1], stored[2], stored[3], at, created}
        end
      end
    end
  end

  local length = batch and batch.length or call('LLEN', KEYS[5])
  if length >= tonumber(ARGV[7]) then
    return {'refused', 'queue_full', format('%d', length)}
  end

  if not exists and call('ZSCORE', KEYS[4], user_id) then
    return {'refused', 'incomplete'}
  end
  local score

  -- When a player of this user_id was deleted: tokens from before that speak for nobody, writes come after it.
  local deleted_at = stored[6]
  if not exists then
    deleted_at = call('GET', ARGV[14] .. user_id)
  end
  if deleted_at and issued_at ~= '' and tonumber(issued_at) <= tonumber(deleted_at) then
    return {'refused', 'invalid_token'}
  end

  if operation == 'register' or (not exists and (operation == 'create' or ARGV[12] == '1')) then
    if exists then
      return {'refused', 'user_exists'}
    end
    if ARGV[13] ~= '0' then
      local from, till = string.match(ARGV[13], '^(%d+) (%d+)$')
      if now < tonumber(from) or now >= tonumber(till) then
        return {'refused', 'claim_lost'}
      end
    else
      local holder, nonce = call('GET', KEYS[9]) or '', ARGV[22] or ''
      if holder ~= nonce then
        return {'refused', nonce == '' and 'claimed' or 'claim_lost'}
      end
    end
    score = entry and '0' or amount
  elseif not exists then
    return {'refused', 'user_not_found'}
  elseif stored[1] ~= region then
    return {'refused', 'region_mismatch', stored[1]}
  elseif entry or operation == 'secret' or operation == 'password' then
    score = stored[3]
  elseif operation == 'create' then
    call('HSET', KEYS[2], 'region', region) -- as above: what it has already
    return {'unchanged', stored[1], stored[2], stored[3], stored[4], '0'}
  elseif operation == 'add' then
    local sum = tonumber(stored[3]) + tonumber(amount)
    if sum > MAX_EXACT or sum < -MAX_EXACT then
      return {'refused', 'score_out_of_range'}
    end
    score = format('%d', sum)
  else
    score = amount
  end
  -- What stands on the card stays with the score: a write of another board, a secret or a password keeps both.
  local submits, metadata = stored[10] or '0', stored[11] or ''
  local change, refused
  if entry then
    change, refused = change_entry(entry, operation, amount, deleted_at)
    if refused then
      return refused
    end
  elseif operation ~= 'secret' and operation ~= 'password' then
    local given, most_bytes = given_metadata or '', '0'
    if ARGV[15] ~= '' and (exists or operation == 'set' or score ~= '0') then
      local lowest, highest, step, refusal, most, bytes = string.match(ARGV[15], RULES_OF_CARD)
      if refusal ~= '-' then
        return {'refused', refusal}
      end
      if operation == 'add' and step ~= '-' and math.abs(tonumber(amount)) > tonumber(step) then
        return {'refused', 'step_out_of_bounds', step}
      end
      if operation ~= 'force'
        and (lowest ~= '-' and tonumber(score) < tonumber(lowest)
          or highest ~= '-' and tonumber(score) > tonumber(highest)) then
        return {'refused', 'score_out_of_bounds', lowest, highest}
      end
      if most ~= '0' and operation ~= 'force' then
        if tonumber(submits) >= tonumber(most) then
          return {'refused', 'no_submits_left', most}
        end
        submits = format('%d', submits + 1)
      end
      most_bytes = bytes
    end
    if given ~= '' and #given > tonumber(most_bytes) then
      return {'refused', 'metadata_too_large', most_bytes}
    end
    if given ~= '' or score ~= stored[3] then
      metadata = given
    end
  end
  if name == '' then
    name = stored[2] or user_id
  end

  local user_level, user_window, region_level, wait
  if ARGV[8] ~= '0' then
    user_window = tonumber(ARGV[9])
    user_level, wait = bucket_level(KEYS[6], tonumber(ARGV[8]), user_window, now)
    if wait > 0 then
      return {'refused', 'rate_limited', format('%d', wait)}
    end
  end
  if ARGV[10] ~= '0' then
    if batch then
      region_level = batch.level
      wait = wait_for_token(region_level, tonumber(ARGV[10]), 1000000)
    else
      region_level, wait = bucket_level(KEYS[7], tonumber(ARGV[10]), 1000000, now)
    end
    if wait > 0 then
      return {'refused', 'region_rate_limited', format('%d', wait)}
    end
  end

  local stamp = format('%d', now)
  if user_level then
    call('HSET', KEYS[6], 'level', format('%d', user_level - user_window), 'at', stamp)
    call('PEXPIRE', KEYS[6], format('%d', math.ceil(user_window / 1000)))
  end
  if batch and region_level then
    batch.level, batch.taken = region_level - 1000000, true
  elseif region_level then
    call('HSET', KEYS[7], 'level', format('%d', region_level - 1000000), 'at', stamp)
  end

  local updated_at, last = stamp, stored[7] or stored[4] or deleted_at
  if last and tonumber(last) >= now then
    updated_at = format('%d', tonumber(last) + 1)
  end

  -- A write to another board leaves the card as it is, unless it makes the player or renames it.
  local card = not entry or not exists or name ~= stored[2]
  if change and not card and not change.differs then
    call('HSET', entry.hash, entry.board.field, entry.text) -- as above
    local beginning = '0 ' .. change.before
    if keep_answer then
      call('SET', KEYS[8],
        table.concat({fingerprint, 'unchanged', region, name, change.score, entry.clock, beginning}, '\n'), 'EX', ARGV[11])
    end
    return {'unchanged', region, name, change.score, entry.clock, beginning}
  end
  if card then
    if exists and name == stored[2] then
      call('HSET', KEYS[2], 'score', score, 'updated_at', updated_at)
    else
      call('HSET', KEYS[2], 'name', name, 'region', region, 'score', score, 'updated_at', updated_at)
    end
    if stored[7] then
      call('HDEL', KEYS[2], 'clock')
    end
    if submits ~= (stored[10] or '0') then
      call('HSET', KEYS[2], 'submits', submits)
    end
    if metadata ~= (stored[11] or metadata) then
      call('HDEL', KEYS[2], 'metadata')
    end
    if metadata ~= '' and metadata ~= stored[11] then
      call('HSET', KEYS[2], 'metadata', metadata)
    end
  else
    call('HSET', KEYS[2], 'clock', updated_at)
  end
  if deleted_at and not exists then
    call('HSET', KEYS[2], 'since', deleted_at)
  end
  local protected = ''
  if stored[5] then
    protected = ',"protected":true'
  elseif ARGV[23] == '1' and (not exists or operation == 'password') then
    protected = ',"protected":true'
    call('HSET', KEYS[2], 'protected', '1')
  end
  local credential, credential_at = stored[8] or '', stored[9]
  if not exists then
    credential = ARGV[24] or 'server'
  elseif operation == 'secret' then
    credential = (string.match(credential, '^%l+') or 'self') .. ' ' .. ARGV[24]
    -- Of two secrets an event that comes back must know the newer, whatever else was written meanwhile.
    credential_at = updated_at
    call('HSET', KEYS[2], 'credential_at', updated_at)
  end
  if credential ~= '' then
    if credential ~= stored[8] then
      call('HSET', KEYS[2], 'credential', credential)
    end
    credential = ',"credential":"' .. credential .. '"'
    if credential_at then
      credential = credential .. ',"credential_at":"' .. credential_at .. '"'
    end
  end
  if (not entry or not exists) and batch then
    local scores = batch.scores
    scores[#scores + 1], scores[#scores + 2] = score, user_id
  elseif not entry or not exists then
    place_member(KEYS[3], KEYS[4], score, user_id)
  end
  local created, key = exists and '0' or '1', ''
  -- Services of an earlier version tell it from '1', and no more.
  local before = stored[3]
  if change then
    before = change.before
  end
  local beginning = (entry and before or not entry and exists) and '0 ' .. (before or '') or '1'
  if keep_answer then
    key = table.concat({key_hash, fingerprint, created, updated_at}, ' ')
    if card then
      call('HSET', KEYS[2], 'key', key)
    end
    key = ',"key":"' .. key .. '"'
  end
  local entries = ''
  if change and change.differs then
    local last_key = keep_answer and key_hash .. ':' .. fingerprint or ''
    entries = ',"entries":[' .. put_entry(entry, change, user_id, updated_at, last_key) .. ']'
  end
  -- What such an event does not say of the card stays as it is.
  local of_card = card and ',"score":' .. score or ''
  local of_score = ''
  if card and submits ~= '0' then
    of_score = ',"submits":' .. submits
  end
  if card and metadata ~= '' then
    of_score = of_score .. ',"metadata":' .. metadata
  end
  local event = ARGV[6] .. ',"name":' .. cjson.encode(name) .. of_card .. ',"timestamp":' .. updated_at
    .. (card and protected .. credential or '') .. key .. of_score .. entries .. '}'
  if batch then
    batch.events[#batch.events + 1], batch.length = event, length + 1
  else
    call('LPUSH', KEYS[5], event)
  end

  if change then
    score = change.score
  end
  if keep_answer then
    call('SET', KEYS[8],
      table.concat({fingerprint, 'ok', region, name, score, updated_at, beginning}, '\n'), 'EX', ARGV[11])
  end
  return {'ok', region, name, score, updated_at, beginning}
end
