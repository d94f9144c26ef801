#!lua flags=allow-oom
--[[
Take entries of a player who was deleted, or is about to be: those from before the deletion, or all where the player
itself is from before it or is not here.

KEYS  1 the player's entries   2 the player's hash
      then for each entry: 1 set of the region   2 GLOBAL set
ARGV  1 user_id   2 region   3 microseconds of the deletion ('' when it is still to come)
      then for each entry its field
Result number of entries taken
]]
--@include take_entry
local player = redis.call('HMGET', KEYS[2], 'region', 'updated_at')
if player[1] and player[1] ~= ARGV[2] then
  return 0
end
local until_clock = tonumber(ARGV[3])
local all = not until_clock or not player[1] or tonumber(player[2]) <= until_clock
local taken = 0
for i = 4, #ARGV do
  local clock = string.match(redis.call('HGET', KEYS[1], ARGV[i]) or '', '^%S+ %S+ (%d+) ')
  if clock and (all or tonumber(clock) <= until_clock) then
    take_entry(KEYS[1], ARGV[i], KEYS[2 * i - 5], KEYS[2 * i - 4], ARGV[1])
    taken = taken + 1
  end
end
return taken
