#!lua flags=allow-oom
--[[
Record a worker's heartbeat.

KEYS  1 ZSET of workers
ARGV  1 worker   2 microseconds without a heartbeat after which a worker is stale
Result stale workers
]]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
return redis.call('ZRANGE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]), 'BYSCORE')
