--[[
The event that says a player's card as its hash has it, for the queue: JSON. Numbers stay texts: cjson would round them.
]]
local function card_event(key, user_id, region, request_id)
  local card = redis.call('HMGET', key, 'name', 'score', 'updated_at', 'protected', 'credential', 'credential_at', 'key',
    'submits', 'metadata')
  local text = cjson.encode({
    user_id = user_id, region = region, request_id = request_id, name = card[1], protected = card[4] and true or nil,
    credential = card[5] or nil, credential_at = card[6] or nil, key = card[7] or nil
  })
  return string.sub(text, 1, -2) .. ',"score":' .. card[2] .. ',"timestamp":' .. card[3]
    .. (card[8] and ',"submits":' .. card[8] or '') .. (card[9] and ',"metadata":' .. card[9] or '') .. '}'
end
