--[[
Put players read from Postgres back, but for those that are here already and not older.

KEYS  1 region's board   2 GLOBAL board
ARGV  1 prefix of the players' hashes   2 region
      then for each player: user_id, name, score, updated_at, protected '1' | '0'
Result number of players put back
]]
local restored = 0
for i = 3, #ARGV, 5 do
  local user_id, name, score, updated_at, protected = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local key = ARGV[1] .. user_id
  local kept = redis.call('HGET', key, 'updated_at')
  if not kept or tonumber(kept) < tonumber(updated_at) then
    redis.call('HSET', key, 'name', name, 'region', ARGV[2], 'score', score, 'updated_at', updated_at)
    if protected == '1' then
      redis.call('HSET', key, 'protected', '1')
    end
    redis.call('ZADD', KEYS[1], score, user_id)
    if KEYS[1] ~= KEYS[2] then
      redis.call('ZADD', KEYS[2], score, user_id)
    end
    restored = restored + 1
  end
end
return restored
