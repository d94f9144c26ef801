--[[
Forget players of a region that is on another Redis now.

KEYS  1 that region's board   2 GLOBAL board
      then for each player its hash
ARGV  1 prefix of the players' hashes   2 that region
Result number of players that are left on the board
]]
for i = 3, #KEYS do
  local user_id = string.sub(KEYS[i], #ARGV[1] + 1)
  if redis.call('HGET', KEYS[i], 'region') == ARGV[2] then
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', KEYS[2], user_id)
  end
  redis.call('ZREM', KEYS[1], user_id)
end
return redis.call('ZCARD', KEYS[1])
