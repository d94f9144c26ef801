#!lua flags=allow-oom
--[[
Take events from the right of a queue into a worker's processing list until it has as many as a batch may have, with a
heartbeat: the worker must be known before it has anything in flight. The batch is that list and the admission under
which it stands, both read in this one step; without an admission nothing is taken. Its answer waits for replicas: what
a failover takes back must not be in Postgres.

KEYS  1 queue   2 the worker's processing list   3 ZSET of workers   4 admission
ARGV  1 most events of a batch   2 worker
Result {admission, digest of the newest event of the list, the list's events, newest first}; the admission is '' when
       there is none, the digest when the list is empty
]]
--@acknowledged
local time = redis.call('TIME')
redis.call('ZADD', KEYS[3], string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[2])
local admission = redis.call('GET', KEYS[4])
if not admission or string.find(admission, '^closed ') then
  return {'', '', {}}
end
local room = tonumber(ARGV[1]) - redis.call('LLEN', KEYS[2])
local events = room > 0 and redis.call('RPOP', KEYS[1], room) or {}
for first = 1, #events, 1000 do
  redis.call('LPUSH', KEYS[2], unpack(events, first, math.min(first + 999, #events)))
end
local held = redis.call('LRANGE', KEYS[2], 0, -1)
return {admission, held[1] and redis.sha1hex(held[1]) or '', held}
