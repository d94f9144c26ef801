--[[
How many players of this shard stand strictly above each of some scores, which players of other shards have.

KEYS  1 ready marker   2 board
ARGV  scores
Result {'cold'}, or {'ok', total, above, above, ...}
]]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'cold'}
end
local answer = {'ok', string.format('%.0f', redis.call('ZCARD', KEYS[2]))}
for i = 1, #ARGV do
  answer[i + 2] = string.format('%.0f', redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[i], '+inf'))
end
return answer
