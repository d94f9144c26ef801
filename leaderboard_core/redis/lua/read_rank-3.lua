--[[
A player's place on this shard's part of a board.

KEYS  1 admission   2 board   3 player's hash
ARGV  1 user_id
Result {'missing', total}, or {'ok', total, above, score, name, region}
       above = players here with a strictly higher score
]]
--@include admitted
local total = string.format('%.0f', redis.call('ZCARD', KEYS[2]))
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not score then
  return {'missing', total}
end
local user = redis.call('HMGET', KEYS[3], 'name', 'region')
local above = redis.call('ZCOUNT', KEYS[2], '(' .. score, '+inf')
return {'ok', total, string.format('%.0f', above), score, user[1] or '', user[2] or ''}
