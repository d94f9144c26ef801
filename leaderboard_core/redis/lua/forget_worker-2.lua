#!lua flags=allow-oom
--[[
Forget a stale worker whose batches were reclaimed. Names stay known for a day after the last heartbeat:
a paused worker that wakes up may take an event before its next one.

KEYS  1 ZSET of workers   2 HASH of the workers' versions
ARGV  1 the stale worker
Result 1 when it is forgotten, else 0
]]
local time = redis.call('TIME')
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
if seen and time[1] * 1000000 + time[2] - tonumber(seen) > 86400000000 then
  redis.call('HDEL', KEYS[2], ARGV[1])
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
