--[[
A page of a board from the top, names included.

KEYS  1 admission   2 board   3 its definition
ARGV  1 prefix of the players' hashes   2 characters of a member that are not the user_id's
      3 '1' where regions are wanted beside names, else ''   4 offset   5 limit
      6 prefix of the hashes of entries and 7 field of those whose metadata is wanted, absent where it is not
Result {definition, total, offset, above, 'member, key, ...', 'name, region?, ...', 'metadata, ...'?}
       above = as named_rows counts it
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include metadata_of
--@include metadata_of_rows
--@include named_rows
local digits, offset, limit = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local total = redis.call('ZCARD', KEYS[2])
local rows, named, above = named_rows(KEYS[2], offset, offset + limit - 1, ARGV[1], digits, ARGV[3] == '1')
local metadata = metadata_of_rows(rows, digits, ARGV[6], ARGV[7])
return {DEFINITION, total, offset, above, table.concat(rows, '\0'), table.concat(named, '\0'), metadata}
