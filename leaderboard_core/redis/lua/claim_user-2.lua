--[[
A lease on a user_id while it is being registered, so that two registrations cannot both pass.

KEYS  1 admission   2 claim
ARGV  1 nonce   2 lease in milliseconds
Result {'claimed'} (by somebody else), or {'ok', now} in microseconds of this Redis
]]
--@acknowledged
--@include admitted
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  -- More left than a lease has: the clock has stepped back. Then it begins anew.
  if redis.call('PTTL', KEYS[2]) > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
  end
  return {'claimed'}
end
local time = redis.call('TIME')
return {'ok', string.format('%.0f', time[1] * 1000000 + time[2])}
