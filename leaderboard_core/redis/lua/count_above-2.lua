--[[
Count the players of this shard strictly above each of some scores, which players of other shards have.

KEYS  1 ready marker   2 board
ARGV  scores
Result {'not_ready'}, or {'ok', total, above, above, ...}
]]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'not_ready'}
end
local answer = {'ok', string.format('%.0f', redis.call('ZCARD', KEYS[2]))}
for i = 1, #ARGV do
  answer[i + 2] = string.format('%.0f', redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[i], '+inf'))
end
return answer
