#!lua flags=allow-oom
--[[
A worker's sign of life.

KEYS  1 ZSET of workers
ARGV  1 worker   2 silence in microseconds that counts as dead
Result silent workers
]]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
return redis.call('ZRANGE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]), 'BYSCORE')
