--[[
Take out who was deleted according to Postgres and is here from before that, and mark what tokens may outlive.

KEYS  1 region's board   2 GLOBAL board   3 whether there are marks
ARGV  1 prefix of the players' hashes   2 region   3 prefix of the marks of deletions
      then a text per deletion: user_id, deleted_at, tokens_until (microseconds), with NULs between them
Result number of players taken out
]]
local DELETION = '^(%Z+)%z(%Z+)%z(%Z+)$'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local removed = 0
for i = 4, #ARGV do
  local user_id, deleted_at, tokens_until = string.match(ARGV[i], DELETION)
  local key, mark = ARGV[1] .. user_id, ARGV[3] .. user_id
  local user = redis.call('HMGET', key, 'region', 'updated_at')
  if user[1] == ARGV[2] then
    if tonumber(user[2]) <= tonumber(deleted_at) then
      redis.call('ZREM', KEYS[1], user_id)
      redis.call('ZREM', KEYS[2], user_id)
      redis.call('DEL', key)
      removed = removed + 1
    else
      redis.call('HSET', key, 'since', deleted_at)
    end
  end
  local left = math.ceil((tonumber(tokens_until) - now) / 1000)
  local marked = redis.call('GET', mark)
  if left > 0 and (not marked or tonumber(marked) < tonumber(deleted_at)) then
    redis.call('SET', mark, deleted_at, 'PX', string.format('%.0f', left))
    redis.call('SET', KEYS[3], '1')
  end
end
return removed
