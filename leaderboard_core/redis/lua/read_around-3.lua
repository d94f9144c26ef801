--[[
Read the rows next to a player in board order, names included. The player may be on another shard:
then key and member say where it would stand here (found by bisection).

KEYS  1 admission   2 board   3 its definition
ARGV  1 prefix of the players' hashes   2 characters of a member that are not the user_id's
      3 '1' where regions are wanted beside names, else ''   4 range
      5 user_id   6 prefix of the hashes of entries   7 field of the entry, '' where the user_id is the member
      8 key ('' when the player should be here)   9 member ('' when the player should be here)
      10 field of the entries whose metadata is wanted, absent where it is not
Result {definition, total, 1 when the player is here without being on the board, else 0}, or
       {definition, total, start, above, 'member, key, ...', 'name, region?, ...', member, 'metadata, ...'?}
       start = index of the first row on this board; above = as named_rows counts it; member = the player's, whose own row
       is among the rows when it is here
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include member_of
--@include metadata_of
--@include metadata_of_rows
--@include named_rows
--@include rows_before
local digits, range, member = tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[9]
local total = redis.call('ZCARD', KEYS[2])
local place, last
if ARGV[8] == '' then
  member = member_of(ARGV[6], ARGV[7], ARGV[5])
  place = member and redis.call('ZREVRANK', KEYS[2], member)
  if not place then
    return {DEFINITION, total, redis.call('EXISTS', ARGV[1] .. ARGV[5])}
  end
  last = place + range
else
  place = rows_before(KEYS[2], ARGV[8], member)
  last = place + range - 1
end
local start = math.max(0, place - range)
local rows, named, above = named_rows(KEYS[2], start, last, ARGV[1], digits, ARGV[3] == '1')
local metadata = metadata_of_rows(rows, digits, ARGV[6], ARGV[10])
return {DEFINITION, total, start, above, table.concat(rows, '\0'), table.concat(named, '\0'), member, metadata}
