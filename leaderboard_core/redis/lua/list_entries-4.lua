--[[
Name a player's entries, and read its card.

KEYS  1 admission   2 player's hash   3 the player's entries   4 GLOBAL board
ARGV  1 user_id
Result {'missing'}, {'incomplete'} (on the board without a hash), or {'ok', name, region, score, updated_at, submits of
       the main board, metadata of the score ('' for none), field, ...}
]]
--@include admitted
local user = redis.call('HMGET', KEYS[2], 'name', 'region', 'score', 'updated_at', 'submits', 'metadata')
if not user[2] then
  return {redis.call('ZSCORE', KEYS[4], ARGV[1]) and 'incomplete' or 'missing'}
end
local answer = {'ok', user[1], user[2], user[3], user[4], user[5] or '0', user[6] or ''}
for i, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  answer[i + 7] = field
end
return answer
