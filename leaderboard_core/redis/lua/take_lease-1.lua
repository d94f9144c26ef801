#!lua flags=allow-oom
--[[
Take or renew a lease. One with more time left than a lease has begins anew: the clock has stepped back.

KEYS  1 lease
ARGV  1 nonce of the caller   2 milliseconds   3 '1' takes it if it is free, '0' only renews the caller's own
Result 1 when the caller has it, else 0
]]
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif holder then
  if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return 0
elseif ARGV[3] == '1' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
