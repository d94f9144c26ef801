--[[
Sample the rows of this shard's part of a board between two positions, evenly: every stride-th row after the first
position and not behind the second, where stride is the least with which there are no more samples than asked for.

KEYS  1 admission   2 board
ARGV  1 score and 2 user_id after which the rows begin; an empty user_id is behind that score
      3 score and 4 user_id up to which they reach   5 most samples
Result {'ok', total, low, high, stride, {user_id, score, ...}}
       low = rows at and before the first position; high = rows at and before the second, at least low; the n-th sample
       has low + n * stride rows at and before it
]]
--@include admitted
--@include rank_of_position
local total = redis.call('ZCARD', KEYS[2])
local low = rank_of_position(KEYS[2], ARGV[1], ARGV[2])
local high = math.max(low, rank_of_position(KEYS[2], ARGV[3], ARGV[4]))
local stride = math.max(1, math.ceil((high - low) / tonumber(ARGV[5])))
local samples = {}
for index = low + stride - 1, high - 1, stride do
  local row = redis.call('ZREVRANGE', KEYS[2], index, index, 'WITHSCORES')
  samples[#samples + 1], samples[#samples + 2] = row[1], row[2]
end
return {'ok', total, low, high, stride, samples}
