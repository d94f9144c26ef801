--[[
Find a player by user_id alone, and read this Redis' clock.

KEYS  1 ready marker   2 player's hash   3 tombstone
Result {'not_ready'}, {'missing', now, deleted_at}, or
       {'ok', now, deleted_at, region, name, score, updated_at, protected '1' | '0'}
       times in microseconds; deleted_at = when a player of that user_id was deleted last, '0' if that is unknown
]]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'not_ready'}
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local user = redis.call('HMGET', KEYS[2], 'region', 'name', 'score', 'updated_at', 'protected', 'since')
if not user[1] then
  return {'missing', now, redis.call('GET', KEYS[3]) or '0'}
end
return {'ok', now, user[6] or '0', user[1], user[2], user[3], user[4], user[5] or '0'}
