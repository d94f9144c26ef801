--[[
Count the players of this shard's part of a board strictly above each of some keys, to find one by its rank.

KEYS  1 admission   2 board   3 its definition
ARGV  keys
Result {definition, total, above, above, ...}
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
local answer = {DEFINITION, redis.call('ZCARD', KEYS[2])}
for i = 1, #ARGV do
  answer[i + 2] = redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[i], '+inf')
end
return answer
