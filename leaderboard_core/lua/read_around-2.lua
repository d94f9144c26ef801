--[[
The rows next to a player in board order, names included. The player may live on another shard:
then its score says where it would stand here (ties by descending user_id, found by bisection).

KEYS  1 ready marker   2 board
ARGV  1 prefix of the players' hashes   2 user_id   3 range   4 score ('' when the player should be here)
Result {'cold'}, {'missing', total}, or
       {'ok', total, start, above, user_id, score, name, region, user_id, ...}
       start = index of the first row on this board; above = players with a strictly higher score than
       the first row; the player's own row is among the rows when it lives here
]]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'cold'}
end
-- Lua's own comparison follows the server's locale; a board is ordered by bytes.
local function byte_greater(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local user_id, range, score = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local total = redis.call('ZCARD', KEYS[2])
local place = redis.call('ZREVRANK', KEYS[2], user_id)
local last
if place then
  last = place + range
elseif score == '' then
  return {'missing', string.format('%.0f', total)}
else
  place = redis.call('ZCOUNT', KEYS[2], '(' .. score, '+inf')
  local high = place + redis.call('ZCOUNT', KEYS[2], score, score)
  while place < high do
    local middle = math.floor((place + high) / 2)
    if byte_greater(redis.call('ZREVRANGE', KEYS[2], middle, middle)[1], user_id) then
      place = middle + 1
    else
      high = middle
    end
  end
  last = place + range - 1
end
local start = math.max(0, place - range)
local rows = redis.call('ZREVRANGE', KEYS[2], start, last, 'WITHSCORES')
local above = 0
if rows[2] and start > 0 then
  above = redis.call('ZCOUNT', KEYS[2], '(' .. rows[2], '+inf')
end
local answer = {'ok', string.format('%.0f', total), string.format('%.0f', start), string.format('%.0f', above)}
local n = 4
for i = 1, #rows, 2 do
  local user = redis.call('HMGET', ARGV[1] .. rows[i], 'name', 'region')
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = rows[i], rows[i + 1], user[1] or '', user[2] or ''
  n = n + 4
end
return answer
