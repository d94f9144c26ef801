--[[
Read a page of a range of a board: after a point in board order, down to a lowest key, and between two
ranks if they are given, names included. On a board that spans shards the caller gives keys for ranks.

KEYS  1 admission   2 board   3 its definition
ARGV  1 prefix of the players' hashes   2 characters of a member that are not the user_id's
      3 '1' where regions are wanted beside names, else ''   4 limit
      5 key and 6 member of the start boundary, after which the range begins; an empty member is behind that key
      7 lowest key   8 first rank ('' without)   9 last rank ('' without)
      10 prefix of the hashes of entries and 11 field of those whose metadata is wanted, absent where it is not
Result {definition, total, start, above, end, above_start, 'member, key, ...', 'name, region?, ...', 'metadata, ...'?}
       start = players before the first row; above = as named_rows counts it; end = players before the end of the range;
       above_start = players with a strictly greater key than ARGV[5]
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include metadata_of
--@include metadata_of_rows
--@include named_rows
--@include rows_before
local function count(from)
  return redis.call('ZCOUNT', KEYS[2], from, '+inf')
end

local function key_at(index)
  return redis.call('ZREVRANGE', KEYS[2], index, index, 'WITHSCORES')[2]
end

local digits, limit = tonumber(ARGV[2]), tonumber(ARGV[4])
local total = redis.call('ZCARD', KEYS[2])
local start, above_start = rows_before(KEYS[2], ARGV[5], ARGV[6])
local last = count(ARGV[7])
if ARGV[8] ~= '' then
  local first = tonumber(ARGV[8]) - 1
  if first >= total then
    first = total
  else
    local theirs = key_at(first)
    if count('(' .. theirs) ~= first then
      first = count(theirs)
    end
  end
  start = math.max(start, first)
end
if ARGV[9] ~= '' and tonumber(ARGV[9]) < total then
  last = math.min(last, count(key_at(tonumber(ARGV[9]) - 1)))
end

local rows, named, above = {}, {}, 0
if start < last then
  rows, named, above = named_rows(KEYS[2], start, math.min(start + limit, last) - 1, ARGV[1], digits, ARGV[3] == '1')
end
local metadata = metadata_of_rows(rows, digits, ARGV[10], ARGV[11])
return {
  DEFINITION, total, start, above, last, above_start, table.concat(rows, '\0'), table.concat(named, '\0'), metadata
}
