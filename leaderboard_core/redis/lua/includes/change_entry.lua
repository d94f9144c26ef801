--[[
What a write makes of a player's entry on one board, in one window. Numbers of scores and keys are whole and exact; the key
is the score, or its negative where low ones are good, as `sign` says.
]]
local function read_kept(text)
  if not text then
    return nil
  end
  local key, tie, clock, submits, base_at, more = string.match(text, '^(%S+) (%S+) (%d+) (%d+) (%d+) [01](.*)$')
  local hash, fingerprint = string.match(more, '^ @([^:]+):(%S+)')
  return {
    text = text, key = key ~= '-' and tonumber(key) or nil, tie = tie, clock = clock, submits = tonumber(submits),
    base_at = base_at, hash = hash, fingerprint = fingerprint, metadata = string.match(more, ' (%{.*)$') or '',
  }
end

-- The entry that a write is to: `field` is `<board>.<id>:<window>`, `rules` as write_score has them.
local function entry_of(hash, region_set, global_set, field, rules, metadata)
  local board, id, window = string.match(field, '^([^.]+)%.(%d+):(.+)$')
  local lowest, highest, step, refusal, operator, sign, digits, most, bytes =
    string.match(rules, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)')
  return {
    hash = hash, region_set = region_set, global_set = global_set, field = field, board = board, id = id, window = window,
    lowest = lowest, highest = highest, step = step, refusal = refusal, operator = operator, sign = tonumber(sign),
    tied = digits ~= '0', max_submits = tonumber(most), metadata_bytes = tonumber(bytes), metadata = metadata,
    kept = read_kept(redis.call('HGET', hash, field)),
  }
end

local MAX_EXACT = 9007199254740991

--[[
Decide what becomes of the entry: sets its score, and whether it `changes`. Returns a refusal, as write_score has them,
or nil. `deleted_at` is when a predecessor of the player was deleted, if any.
]]
local function change_entry(entry, operation, amount, deleted_at)
  local format, kept, forced = string.format, entry.kept, operation == 'force'
  if entry.refusal ~= '-' then
    return {'refused', entry.refusal}
  end
  local before = kept and kept.key and entry.sign * kept.key
  local adds = operation == 'add' or (entry.operator == 'sum' and not forced)
  local score = tonumber(amount)
  if adds then
    if entry.step ~= '-' and math.abs(score) > tonumber(entry.step) then
      return {'refused', 'step_out_of_bounds', entry.step}
    end
    score = score + (before or 0)
    if score > MAX_EXACT or score < -MAX_EXACT then
      return {'refused', 'score_out_of_range'}
    end
  end
  if not forced and (score < tonumber(entry.lowest) or score > tonumber(entry.highest)) then
    return {'refused', 'score_out_of_bounds', entry.lowest, entry.highest}
  end
  local submits = kept and kept.submits or 0
  if entry.max_submits > 0 and not forced then
    if submits >= entry.max_submits then
      return {'refused', 'no_submits_left', format('%d', entry.max_submits)}
    end
    submits = submits + 1
  end
  if #entry.metadata > entry.metadata_bytes then
    return {'refused', 'metadata_too_large', format('%d', entry.metadata_bytes)}
  end

  local key, metadata = entry.sign * score, entry.metadata
  local worse = before and not forced and entry.operator == 'best' and key <= kept.key
  if worse then
    key, metadata = kept.key, kept.metadata
  elseif before and key == kept.key and metadata == '' then
    metadata = kept.metadata -- the same score: what was said of it stands
  end
  entry.before, entry.key, entry.new_metadata, entry.submits = before, format('%d', key), metadata, format('%d', submits)
  entry.score = format('%d', entry.sign * key)
  -- Who has the score already keeps the moment at which it was reached.
  entry.new_tie = before and key == kept.key and kept.tie
  entry.forced, entry.base_at = forced, kept and kept.base_at or deleted_at or '0'
  entry.changes = forced or not before or key ~= kept.key or metadata ~= kept.metadata or submits ~= kept.submits
  return nil
end

--[[
Write the changed entry as of a time, with what tells a repeat of this write, and return it as an event has it.
]]
local function put_entry(entry, user_id, clock, last_key)
  local tie = entry.new_tie or (entry.tied and string.format('%016d', MAX_EXACT - tonumber(clock)) or '-')
  local base_at = entry.forced and clock or entry.base_at
  local best = entry.operator == 'best'
  local after = table.concat({entry.key, tie, clock, entry.submits, base_at, best and '1' or '0'}, ' ')
  after = after .. (last_key == '' and '' or ' @' .. last_key) .. (entry.new_metadata == '' and '' or ' ' .. entry.new_metadata)
  redis.call('HSET', entry.hash, entry.field, after)
  place_entry(entry.region_set, entry.global_set, user_id, entry.kept and entry.kept.text, after)
  return '{"board_id":' .. entry.id .. ',"board":"' .. entry.board .. '","window":"' .. entry.window .. '","key":' .. entry.key
    .. ',"member":"' .. (tie == '-' and '' or tie) .. string.sub(cjson.encode(user_id), 2)
    .. ',"submits":' .. entry.submits .. ',"base_at":' .. base_at .. (best and ',"best":true' or '')
    .. (entry.new_metadata == '' and '' or ',"metadata":' .. entry.new_metadata) .. '}'
end
