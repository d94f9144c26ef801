--[[
Remove players that Postgres deleted later than they were written here, and restore the tombstones of those whose
tokens may still be valid.

KEYS  1 region's board   2 GLOBAL board   3 whether there are tombstones
      then for each deletion: 1 its player's hash   2 tombstone
ARGV  1 prefix of the players' hashes   2 region   3 prefix of the players' entries
      then a text per deletion, in the order of the keys: deleted_at, tokens_until (microseconds), with a NUL between them
Result each player who has entries, and 'waits': its entries have to go before it, and then this is to be called for it
       again; or 'stays': it is newer, its entries need not be
]]
local DELETION = '^(%Z+)%z(%Z+)$'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local with_entries = {}
for i = 4, #ARGV do
  local deleted_at, tokens_until = string.match(ARGV[i], DELETION)
  local key, tombstone = KEYS[2 * i - 4], KEYS[2 * i - 3]
  local user_id = string.sub(key, #ARGV[1] + 1)
  local user = redis.call('HMGET', key, 'region', 'updated_at', 'since')
  if user[1] == ARGV[2] then
    local goes = tonumber(user[2]) <= tonumber(deleted_at)
    local has_entries = redis.call('EXISTS', ARGV[3] .. user_id) == 1
    if has_entries then
      with_entries[#with_entries + 1], with_entries[#with_entries + 2] = user_id, goes and 'waits' or 'stays'
    end
    if goes and not has_entries then
      redis.call('ZREM', KEYS[1], user_id)
      redis.call('ZREM', KEYS[2], user_id)
      redis.call('DEL', key)
    elseif not goes and tonumber(user[3] or '0') < tonumber(deleted_at) then
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
return with_entries
