--[[
A player's place on this shard's part of a board.

KEYS  1 admission   2 board   3 player's hash
ARGV  1 user_id   2 prefix of the hashes of entries   3 field of the entry, '' where the user_id is the member
Result {'missing', total}, or {'ok', total, above, before, key, member, name, region}
       above = players here with a strictly greater key; before = players here before it in board order
]]
--@include admitted
--@include member_of
local format = string.format
local total = format('%.0f', redis.call('ZCARD', KEYS[2]))
local member = member_of(ARGV[2], ARGV[3], ARGV[1])
local key = member and redis.call('ZSCORE', KEYS[2], member)
if not key then
  return {'missing', total}
end
local user = redis.call('HMGET', KEYS[3], 'name', 'region')
local above = redis.call('ZCOUNT', KEYS[2], '(' .. key, '+inf')
local before = redis.call('ZREVRANK', KEYS[2], member)
return {'ok', total, format('%.0f', above), format('%.0f', before), key, member, user[1] or '', user[2] or ''}
