--[[
A player by user_id alone, and this Redis' clock.

KEYS  1 ready marker   2 player's hash
Result {'cold'}, {'missing', now}, or {'ok', now, region, name, score, protected '1' | '0'}
       now in microseconds
]]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'cold'}
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local user = redis.call('HMGET', KEYS[2], 'region', 'name', 'score', 'protected')
if not user[1] then
  return {'missing', now}
end
return {'ok', now, user[1], user[2], user[3], user[4] or '0'}
