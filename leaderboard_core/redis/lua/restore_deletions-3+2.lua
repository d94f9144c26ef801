--[[
Remove players that Postgres deleted later than they were written here, and restore the tombstones of those whose
tokens may still be valid.

KEYS  1 region's board   2 GLOBAL board   3 whether there are tombstones
      then for each deletion: 1 its player's hash   2 tombstone
ARGV  1 prefix of the players' hashes   2 region
      then a text per deletion, in the order of the keys: deleted_at, tokens_until (microseconds), with a NUL between them
Result number of players removed
]]
local DELETION = '^(%Z+)%z(%Z+)$'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local removed = 0
for i = 3, #ARGV do
  local deleted_at, tokens_until = string.match(ARGV[i], DELETION)
  local key, tombstone = KEYS[2 * i - 2], KEYS[2 * i - 1]
  local user_id = string.sub(key, #ARGV[1] + 1)
  local user = redis.call('HMGET', key, 'region', 'updated_at', 'since')
  if user[1] == ARGV[2] then
    if tonumber(user[2]) <= tonumber(deleted_at) then
      redis.call('ZREM', KEYS[1], user_id)
      redis.call('ZREM', KEYS[2], user_id)
      redis.call('DEL', key)
      removed = removed + 1
    elseif tonumber(user[3] or '0') < tonumber(deleted_at) then
      redis.call('HSET', key, 'since', deleted_at)
    end
  end
  local left = math.ceil((tonumber(tokens_until) - now) / 1000)
  local kept = redis.call('GET', tombstone)
  if left > 0 and (not kept or tonumber(kept) < tonumber(deleted_at)) then
    redis.call('SET', tombstone, deleted_at, 'PX', string.format('%.0f', left))
    redis.call('SET', KEYS[3], '1')
  end
end
return removed
