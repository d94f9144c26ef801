#!lua flags=allow-oom
--[[
Take up to ARGV[1] more events from the right of a queue into a worker's processing list, with a heartbeat:
the worker must be known before it has anything in flight.

KEYS  1 queue   2 the worker's processing list   3 ZSET of workers
ARGV  1 number of events   2 worker
Result the events, oldest first
]]
local time = redis.call('TIME')
redis.call('ZADD', KEYS[3], string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[2])
local events = redis.call('RPOP', KEYS[1], ARGV[1]) or {}
for first = 1, #events, 1000 do
  redis.call('LPUSH', KEYS[2], unpack(events, first, math.min(first + 999, #events)))
end
return events
