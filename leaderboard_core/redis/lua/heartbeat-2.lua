#!lua flags=allow-oom
--[[
Record a worker's heartbeat and its version. A heartbeat of another worker that lies ahead of now is set to now: the
clock has stepped back, and its age counts from here.

KEYS  1 ZSET of workers   2 HASH of the workers' versions
ARGV  1 worker   2 microseconds without a heartbeat after which a worker is stale   3 version
Result {least version of all known workers ('0' of one that says none), stale workers, ...}
]]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', now)
for _, ahead in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. stamp, '+inf', 'BYSCORE')) do
  redis.call('ZADD', KEYS[1], stamp, ahead)
end
redis.call('ZADD', KEYS[1], stamp, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local least = ARGV[3]
for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local version = redis.call('HGET', KEYS[2], worker) or '0'
  if tonumber(version) < tonumber(least) then
    least = version
  end
end
return {least, unpack(redis.call('ZRANGE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]), 'BYSCORE'))}
