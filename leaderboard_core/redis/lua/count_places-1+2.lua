--[[
Count the players of this shard's part of several rankings before one point in each, which is another shard's player's.

KEYS  1 admission
      then for each ranking: 1 its board's definition   2 its set
ARGV  for each ranking key and member of the point
Result for each ranking {definition, total, above, before}
]]
--@include admitted
--@include rows_before
local counted = {}
for i = 1, #ARGV / 2 do
  local before, above = rows_before(KEYS[2 * i + 1], ARGV[2 * i - 1], ARGV[2 * i])
  counted[i] = {redis.call('GET', KEYS[2 * i]), redis.call('ZCARD', KEYS[2 * i + 1]), above, before}
end
return counted
