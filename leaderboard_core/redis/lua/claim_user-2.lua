--[[
A lease on a user_id while it is being registered, so that two registrations cannot both pass.

KEYS  1 claim   2 ready marker
ARGV  1 nonce   2 lease in milliseconds
Result {'not_ready'}, {'claimed'} (by somebody else), or {'ok', now} in microseconds of this Redis
]]
if redis.call('EXISTS', KEYS[2]) == 0 then
  return {'not_ready'}
end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {'claimed'}
end
local time = redis.call('TIME')
return {'ok', string.format('%.0f', time[1] * 1000000 + time[2])}
