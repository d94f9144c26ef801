--[[
Forget the first players of the board of a region that is on another Redis now.

KEYS  1 that region's board   2 GLOBAL board
ARGV  1 prefix of the players' hashes   2 that region   3 most players in this call
Result number of players that are left on the board
]]
local players = redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1)
for i = 1, #players do
  local key = ARGV[1] .. players[i]
  if redis.call('HGET', key, 'region') == ARGV[2] then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], players[i])
  end
  redis.call('ZREM', KEYS[1], players[i])
end
return redis.call('ZCARD', KEYS[1])
