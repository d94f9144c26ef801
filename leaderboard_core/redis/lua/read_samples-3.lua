--[[
Sample the rows of this shard's part of a board between two points, evenly: every stride-th row after the first
point and not behind the second, where stride is the least with which there are no more samples than asked for.

KEYS  1 admission   2 board   3 its definition
ARGV  1 key and 2 member after which the rows begin; an empty member is behind that key
      3 key and 4 member up to which they reach   5 most samples
Result {definition, total, low, high, stride, 'member, key, ...'}, the samples in one text, with NUL between the values
       low = rows at and before the first point; high = rows at and before the second, at least low; the n-th sample
       has low + n * stride rows at and before it
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include rows_before
local total = redis.call('ZCARD', KEYS[2])
local low = rows_before(KEYS[2], ARGV[1], ARGV[2])
local high = math.max(low, (rows_before(KEYS[2], ARGV[3], ARGV[4])))
local stride = math.max(1, math.ceil((high - low) / tonumber(ARGV[5])))
local samples = {}
for index = low + stride - 1, high - 1, stride do
  local row = redis.call('ZREVRANGE', KEYS[2], index, index, 'WITHSCORES')
  samples[#samples + 1], samples[#samples + 2] = row[1], row[2]
end
return {DEFINITION, total, low, high, stride, table.concat(samples, '\0')}
