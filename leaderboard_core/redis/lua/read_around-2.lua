--[[
Read the rows next to a player in board order, names included. The player may be on another shard:
then its score says where it would stand here (ties by descending user_id, found by bisection).

KEYS  1 admission   2 board
ARGV  1 prefix of the players' hashes   2 user_id   3 range   4 score ('' when the player should be here)
Result {'missing', total}, or
       {'ok', total, start, above, {user_id, score, ...}, {name, region, ...}}
       start = index of the first row on this board; above = players with a strictly higher score than
       the first row; the player's own row is among the rows when it is here
]]
--@include admitted
--@include named_rows
--@include rank_of_position
local user_id, range, score = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local total = redis.call('ZCARD', KEYS[2])
local place = redis.call('ZREVRANK', KEYS[2], user_id)
local last
if place then
  last = place + range
elseif score == '' then
  return {'missing', string.format('%.0f', total)}
else
  place = rank_of_position(KEYS[2], score, user_id)
  last = place + range - 1
end
local start = math.max(0, place - range)
local rows, named = named_rows(KEYS[2], start, last, ARGV[1])
local above = 0
if rows[2] and start > 0 then
  above = redis.call('ZCOUNT', KEYS[2], '(' .. rows[2], '+inf')
end
return {'ok', total, start, above, rows, named}
