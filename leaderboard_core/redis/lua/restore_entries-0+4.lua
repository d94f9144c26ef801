--[[
Restore entries read from Postgres, merged with what is here, of players who are here and were not made anew since; a
player's clock is never behind them.

KEYS  none of its own
      then for each entry: 1 the player's entries   2 the player's hash
         3 set of the region   4 GLOBAL set (3 and 4 may be the same)
ARGV  1 prefix of the players' hashes   2 region
      then a text per entry, in the order of the keys: its field and its state, with a NUL between them
Result number of entries whose player is here
]]
--@include merge_entry
--@include place_member
--@include place_entry
local restored = 0
for i = 3, #ARGV do
  local field, given = string.match(ARGV[i], '^(%Z+)%z(%Z+)$')
  local clock = tonumber(string.match(given, '^%S+ %S+ (%d+) '))
  local entries, user = KEYS[4 * i - 11], KEYS[4 * i - 10]
  local player = redis.call('HMGET', user, 'region', 'updated_at', 'since', 'clock')
  if player[1] == ARGV[2] and clock > tonumber(player[3] or '0') then
    local kept = redis.call('HGET', entries, field)
    local merged = merge_entry(kept, given)
    if merged ~= kept then
      redis.call('HSET', entries, field, merged)
    end
    place_entry(KEYS[4 * i - 9], KEYS[4 * i - 8], string.sub(user, #ARGV[1] + 1), kept, merged)
    -- What was here may be later, of a player whose hash was lost and came back from Postgres.
    clock = math.max(clock, tonumber(read_entry(merged).clock))
    if clock > tonumber(player[4] or player[2]) then
      redis.call('HSET', user, 'clock', string.format('%.0f', clock))
    end
    restored = restored + 1
  end
end
return restored
