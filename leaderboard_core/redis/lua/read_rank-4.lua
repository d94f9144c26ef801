--[[
A player's place on this shard's part of a board.

KEYS  1 admission   2 board   3 its definition   4 player's hash
ARGV  1 user_id; the others may be absent where the user_id is the member and no metadata is wanted:
      2 prefix of the hashes of entries   3 field of the entry, '' where the user_id is the member
      4 field of the entry whose metadata is wanted, absent where it is not
Result {definition, total, 1 when the player is here without being on the board, else 0}, or
       {definition, total, above, before, key, member, name, region, metadata?}
       above = players here with a strictly greater key, or `before` where ties go to the earliest, so that a rank is a
       position; before = players here before it in board order
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include member_of
--@include metadata_of
local total = redis.call('ZCARD', KEYS[2])
local member, key = member_of(ARGV[2], ARGV[3] or '', ARGV[1])
local above = nil
if member and not key then
  key = redis.call('ZSCORE', KEYS[2], member)
  above = key and redis.call('ZCOUNT', KEYS[2], '(' .. key, '+inf')
end
local before = key and redis.call('ZREVRANK', KEYS[2], member)
if not before then
  return {DEFINITION, total, redis.call('EXISTS', KEYS[4])}
end
local user = redis.call('HMGET', KEYS[4], 'name', 'region')
local metadata = ARGV[4] and metadata_of(ARGV[2], ARGV[4], ARGV[1])
return {DEFINITION, total, above or before, before, key, member, user[1] or '', user[2] or '', metadata}
