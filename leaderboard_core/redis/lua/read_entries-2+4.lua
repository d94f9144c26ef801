--[[
Read entries of a player, with the definitions of their boards and its places on this shard's part of them.

KEYS  1 admission   2 the player's entries
      then for each entry: 1 the board's definition   2 its rules   3 set of the region   4 GLOBAL set
ARGV  1 user_id, then for each entry its field
Result for each entry false when it is not there (any more), or {definition, rules, entry, of the region, of GLOBAL}
       where those are {total, above, before}, or false where the player is not in that set
]]
--@include admitted
local function standing(set, member)
  local key = redis.call('ZSCORE', set, member)
  return key and {
    redis.call('ZCARD', set), redis.call('ZCOUNT', set, '(' .. key, '+inf'), redis.call('ZREVRANK', set, member)
  }
end

local found = {}
for i = 2, #ARGV do
  local entry = redis.call('HGET', KEYS[2], ARGV[i])
  local tie = entry and string.match(entry, '^%-?%d+ (%S+) ')
  found[i - 1] = false
  if tie then
    local member = (tie == '-' and '' or tie) .. ARGV[1]
    local definition = redis.call('MGET', KEYS[4 * i - 5], KEYS[4 * i - 4])
    found[i - 1] = {
      definition[1], definition[2], entry, standing(KEYS[4 * i - 3], member), standing(KEYS[4 * i - 2], member)
    }
  end
end
return found
