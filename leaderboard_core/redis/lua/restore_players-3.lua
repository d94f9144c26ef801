--[[
Restore players read from Postgres, but for those that are here already and not older, or were deleted here since.

KEYS  1 region's board   2 GLOBAL board   3 whether there are tombstones
ARGV  1 prefix of the players' hashes   2 region   3 prefix of the tombstones
      then a text per player: user_id, name, score, updated_at, protected '1' | '0', with NULs between them,
      which no text in Postgres has (one argument instead of five: half of the time went into reading them)
Result number of players restored
]]
local PLAYER = '^(%Z+)%z(%Z*)%z(%Z+)%z(%Z+)%z(%Z)$'
local tombstones = redis.call('EXISTS', KEYS[3]) == 1
local members, n = {}, 0
for i = 4, #ARGV do
  local user_id, name, score, updated_at, protected = string.match(ARGV[i], PLAYER)
  local key = ARGV[1] .. user_id
  local kept = redis.call('HGET', key, 'updated_at') or (tombstones and redis.call('GET', ARGV[3] .. user_id))
  if not kept or tonumber(kept) < tonumber(updated_at) then
    redis.call('HSET', key, 'name', name, 'region', ARGV[2], 'score', score, 'updated_at', updated_at)
    if protected == '1' then
      redis.call('HSET', key, 'protected', '1')
    end
    members[n + 1], members[n + 2] = score, user_id
    n = n + 2
  end
end
if n > 0 then
  redis.call('ZADD', KEYS[1], unpack(members))
  if KEYS[1] ~= KEYS[2] then
    redis.call('ZADD', KEYS[2], unpack(members))
  end
end
return n / 2
