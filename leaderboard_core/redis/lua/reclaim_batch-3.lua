#!lua flags=allow-oom
--[[
Reclaim the in-flight batch of a stale worker: its events go back to the right end of the queue, oldest last,
so that they are taken next. Nothing happens when the worker has sent a heartbeat meanwhile; one that lies ahead of now
counts as one of now, for the clock has stepped back.

KEYS  1 queue   2 the stale worker's processing list   3 ZSET of workers
ARGV  1 the stale worker   2 microseconds without a heartbeat after which a worker is stale
Result number of events reclaimed, -1 when the worker is not stale
]]
local time = redis.call('TIME')
local seen = redis.call('ZSCORE', KEYS[3], ARGV[1])
if seen and time[1] * 1000000 + time[2] - tonumber(seen) < tonumber(ARGV[2]) then
  return -1
end
local reclaimed = 0
while redis.call('LMOVE', KEYS[2], KEYS[1], 'LEFT', 'RIGHT') do
  reclaimed = reclaimed + 1
end
return reclaimed
