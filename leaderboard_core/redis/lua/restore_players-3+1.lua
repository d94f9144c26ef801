--[[
Restore players read from Postgres, but for those that are here already and not older, or were deleted here since.

KEYS  1 region's board   2 GLOBAL board   3 whether there are tombstones
      then for each player its hash
ARGV  1 prefix of the players' hashes   2 region   3 prefix of the tombstones
      then a text per player, in the order of the hashes: name, score, updated_at, protected '1' | '0', when a predecessor was deleted
      in microseconds ('0' if none was), the last Idempotency-Key ('' if none), the credential ('' if none), submits
      ('0' if none), and metadata ('' if none), with NULs between them, which no text in Postgres has (one argument instead
      of nine: half of the time went into reading them)
Result for each player who was here with another region: user_id, that region, 'newer' | 'older' = what the row was;
       a newer one was restored, and is on the board of the other region still
]]
--@include restore_player
local PLAYER = '^(%Z*)%z(%Z+)%z(%Z+)%z(%Z)%z(%Z+)%z(%Z*)%z(%Z*)%z(%Z+)%z(%Z*)$'
local tombstones = redis.call('EXISTS', KEYS[3]) == 1
local members, n, moved = {}, 0, {}
for i = 4, #ARGV do
  local name, score, updated_at, protected, since, last_key, credential, submits, metadata = string.match(ARGV[i], PLAYER)
  local key = KEYS[i]
  local user_id = string.sub(key, #ARGV[1] + 1)
  local kept = redis.call('HMGET', key, 'updated_at', 'region')
  local newest = kept[1] or (tombstones and redis.call('GET', ARGV[3] .. user_id))
  local newer = not newest or tonumber(newest) < tonumber(updated_at)
  if newer then
    restore_player(key, kept[1], ARGV[2], name, score, updated_at, protected, since, last_key, credential, submits, metadata)
    members[n + 1], members[n + 2] = score, user_id
    n = n + 2
  elseif submits ~= '0' and kept[1] and tonumber(redis.call('HGET', key, 'submits') or '0') < tonumber(submits) then
    redis.call('HSET', key, 'submits', submits)
  end
  if kept[2] and kept[2] ~= ARGV[2] then
    local last = #moved
    moved[last + 1], moved[last + 2], moved[last + 3] = user_id, kept[2], newer and 'newer' or 'older'
  end
end
if n > 0 then
  redis.call('ZADD', KEYS[1], unpack(members))
  if KEYS[1] ~= KEYS[2] then
    redis.call('ZADD', KEYS[2], unpack(members))
  end
end
return moved
