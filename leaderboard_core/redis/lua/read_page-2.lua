--[[
Read a page of a range of a board: after a position in board order, down to a lowest score, and between two
ranks if they are given, names included. On a board that spans shards the caller gives scores for ranks.

KEYS  1 admission   2 board
ARGV  1 prefix of the players' hashes   2 limit
      3 score and 4 user_id of the start boundary, after which the range begins; an empty user_id is behind that score
      5 lowest score   6 first rank ('' without)   7 last rank ('' without)
Result {'ok', total, start, above, end, above_start, {user_id, score, ...}, {name, region, ...}}
       start = players before the first row; above = players with a strictly higher score than the first row
       ('0' without rows); end = players before the end of the range; above_start = players with a strictly
       higher score than ARGV[3]
]]
--@include admitted
--@include named_rows
--@include rank_of_position
local function count(from)
  return redis.call('ZCOUNT', KEYS[2], from, '+inf')
end

local function score_at(index)
  return redis.call('ZREVRANGE', KEYS[2], index, index, 'WITHSCORES')[2]
end

local limit, score, user_id = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local total = redis.call('ZCARD', KEYS[2])
local above_start = count('(' .. score)
local start = rank_of_position(KEYS[2], score, user_id)
local last = count(ARGV[5])
if ARGV[6] ~= '' then
  local first = tonumber(ARGV[6]) - 1
  if first >= total then
    first = total
  else
    local theirs = score_at(first)
    if count('(' .. theirs) ~= first then
      first = count(theirs)
    end
  end
  start = math.max(start, first)
end
if ARGV[7] ~= '' and tonumber(ARGV[7]) < total then
  last = math.min(last, count(score_at(tonumber(ARGV[7]) - 1)))
end

local rows, named, above = {}, {}, 0
if start < last then
  rows, named = named_rows(KEYS[2], start, math.min(start + limit, last) - 1, ARGV[1])
  above = count('(' .. rows[2])
end
return {'ok', total, start, above, last, above_start, rows, named}
