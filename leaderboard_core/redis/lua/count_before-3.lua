--[[
Count the players of this shard's part of a board before each of some points, whether or not one stands there.

KEYS  1 admission   2 board   3 its definition
ARGV  for each point its key and its member
Result {definition, total, above, before, above, before, ...}
       above = players here with a strictly greater key; before = players here before it in board order
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include rows_before
local answer = {DEFINITION, redis.call('ZCARD', KEYS[2])}
for i = 1, #ARGV, 2 do
  local before, above = rows_before(KEYS[2], ARGV[i], ARGV[i + 1])
  if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[i + 1])) == tonumber(ARGV[i]) then
    before = before - 1
  end
  answer[i + 2], answer[i + 3] = above, before
end
return answer
