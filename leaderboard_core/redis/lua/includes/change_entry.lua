--[[
What a write makes of a player's entry on one board, in one window. Scores and keys are whole numbers as texts, and become
numbers only where they are compared or added. The key is the score, or its negative where low ones are good, as `sign`
says.
]]
local MAX_EXACT = 9007199254740991

local function with_sign(text, sign)
  if sign == '1' or text == '0' then
    return text
  end
  return string.sub(text, 1, 1) == '-' and string.sub(text, 2) or '-' .. text
end

--[[
The board that a write is to: `field` is `<board>.<id>:<window>`, `rules` as write_score has them, and `definition` which one
they are of. Returns nil where they are of another creation of the board than the entry.
]]
local function board_of(region_set, global_set, field, rules, definition)
  local name, id, window = string.match(field, '^([^.]+)%.(%d+):(.+)$')
  if string.sub(definition, 1, #id + 1) ~= id .. ' ' then
    return nil
  end
  return {
    region_set = region_set, global_set = global_set, field = field, name = name, id = id, window = window,
    rules = {string.match(rules, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)')},
  }
end

-- The player's entry on a board as it stands, in the hash of its entries; without a key when there is none.
local function entry_of(hash, board, metadata)
  local text, key, tie, clock, submits, base_at, more = redis.call('HGET', hash, board.field)
  if text then
    key, tie, clock, submits, base_at, more = string.match(text, '^(%S+) (%S+) (%d+) (%d+) (%d+) [01](.*)$')
  end
  return {
    hash = hash, board = board, given = metadata, text = text or nil, key = key ~= '-' and key or nil, tie = tie,
    clock = clock, submits = submits, base_at = base_at, more = more,
  }
end

--[[
The change that an operation makes of an entry, or a refusal, as write_score has them, behind nil. `deleted_at` is when a
predecessor of the player was deleted, if any. The change has the score now and `before`, and whether it `differs` from what
is kept; its tie is nil where it depends on the time of the write, and so is base_at.
]]
local function change_entry(entry, operation, amount, deleted_at)
  local format, kept, forced = string.format, entry.key, operation == 'force'
  local lowest, highest, step, refusal, operator, sign, digits, most, bytes = unpack(entry.board.rules)
  if refusal ~= '-' then
    return nil, {'refused', refusal}
  end
  local before, score = kept and with_sign(kept, sign), amount
  if operation == 'add' or (operator == 'sum' and not forced) then
    if step ~= '-' and math.abs(tonumber(amount)) > tonumber(step) then
      return nil, {'refused', 'step_out_of_bounds', step}
    end
    local sum = tonumber(amount) + tonumber(before or 0)
    if sum > MAX_EXACT or sum < -MAX_EXACT then
      return nil, {'refused', 'score_out_of_range'}
    end
    score = format('%d', sum)
  end
  if not forced and (lowest ~= '-' and tonumber(score) < tonumber(lowest)
    or highest ~= '-' and tonumber(score) > tonumber(highest)) then
    return nil, {'refused', 'score_out_of_bounds', lowest, highest}
  end
  local submits = entry.submits or '0'
  if most ~= '0' and not forced then
    if tonumber(submits) >= tonumber(most) then
      return nil, {'refused', 'no_submits_left', most}
    end
    submits = format('%d', submits + 1)
  end
  if entry.given ~= '' and #entry.given > tonumber(bytes) then
    return nil, {'refused', 'metadata_too_large', bytes}
  end

  local key, metadata, kept_metadata = with_sign(score, sign), entry.given, ''
  if entry.more and entry.more ~= '' then
    kept_metadata = string.match(entry.more, ' (%{.*)$') or ''
  end
  if kept and not forced and operator == 'best' and tonumber(key) <= tonumber(kept) then -- the worse one
    key, score, metadata = kept, before, kept_metadata
  elseif key == kept and metadata == '' then
    metadata = kept_metadata -- the same score: what was said of it stands
  end
  local tie = digits == '0' and '-' or nil
  if key == kept then
    tie = entry.tie -- who has the score already keeps the moment at which it was reached
  end
  return {
    score = score, before = before, key = key, tie = tie, submits = submits, best = operator == 'best', metadata = metadata,
    base_at = not forced and (entry.base_at or deleted_at or '0') or nil,
    differs = forced or key ~= kept or metadata ~= kept_metadata or submits ~= entry.submits,
  }
end

--[[
Write the changed entry as of a time, with what tells a repeat of this write, and return it as an event has it. Where the
board has `scores` (key, member, ...), members that never change are put there, for the caller to place.
]]
local function put_entry(entry, change, user_id, clock, last_key)
  local board, key, submits, metadata = entry.board, change.key, change.submits, change.metadata
  local tie = change.tie or string.format('%016d', MAX_EXACT - tonumber(clock))
  local base_at = change.base_at or clock
  redis.call('HSET', entry.hash, board.field,
    key .. ' ' .. tie .. ' ' .. clock .. ' ' .. submits .. ' ' .. base_at .. (change.best and ' 1' or ' 0')
    .. (last_key == '' and '' or ' @' .. last_key) .. (metadata == '' and '' or ' ' .. metadata))
  local digits = tie == '-' and '' or tie
  local stood = entry.text and (entry.tie == '-' and '' or entry.tie) .. user_id
  if board.scores and digits == '' then
    local scores = board.scores
    scores[#scores + 1], scores[#scores + 2] = key, user_id
  else
    place_member(board.region_set, board.global_set, key, digits .. user_id, stood)
  end
  return '{"board_id":' .. board.id .. ',"board":"' .. board.name .. '","window":"' .. board.window .. '","key":' .. key
    .. ',"member":"' .. digits .. string.sub(cjson.encode(user_id), 2)
    .. ',"submits":' .. submits .. ',"base_at":' .. base_at .. (change.best and ',"best":true' or '')
    .. (metadata == '' and '' or ',"metadata":' .. metadata) .. '}'
end
