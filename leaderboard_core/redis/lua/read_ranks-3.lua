--[[
The places of several players on this shard's part of a board; who is not on it is left out.

KEYS  1 admission   2 board   3 its definition
ARGV  1 prefix of the players' hashes   2 prefix of the hashes of their entries
      3 field of the entry, '' where the user_id is the member
      4 field of the entries whose metadata is wanted, '' where it is not
      then user_ids, none where no player of a list can be here
Result {definition, total, 'member, key, above, before, name, region, metadata (only if it is wanted), member, ...'}, the
       values in one text, with NUL between them
       above = players here with a strictly greater key; before = players here before it in board order
]]
local BOARD = KEYS[3]
--@include admitted_as_defined
--@include member_of
--@include metadata_of
local found = {}
local members = {}
for i = 5, #ARGV do
  members[i - 4] = member_of(ARGV[2], ARGV[3], ARGV[i]) or ''
end
local keys = #members > 0 and redis.call('ZMSCORE', KEYS[2], unpack(members)) or {}
local above, n = {}, 0
for i, key in ipairs(keys) do
  if key then
    if not above[key] then
      above[key] = redis.call('ZCOUNT', KEYS[2], '(' .. key, '+inf')
    end
    local user = redis.call('HMGET', ARGV[1] .. ARGV[i + 4], 'name', 'region')
    found[n + 1], found[n + 2], found[n + 3] = members[i], key, above[key]
    found[n + 4] = redis.call('ZREVRANK', KEYS[2], members[i])
    found[n + 5], found[n + 6] = user[1] or '', user[2] or ''
    n = n + 6
    if ARGV[4] ~= '' then
      n = n + 1
      found[n] = metadata_of(ARGV[2], ARGV[4], ARGV[i + 4])
    end
  end
end
return {DEFINITION, redis.call('ZCARD', KEYS[2]), table.concat(found, '\0')}
