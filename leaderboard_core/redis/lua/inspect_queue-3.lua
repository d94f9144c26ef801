--[[
Inspect what waits between this Redis and Postgres in one region, all of it at one moment. A heartbeat that lies ahead
of now is set to now: the clock has stepped back, and its age counts from here, also where no worker is left to say so.

KEYS  1 ZSET of workers   2 queue   3 dead-letter list
ARGV  1 name of a processing list without the worker
Result {now in microseconds, waiting, dead, oldest event waiting or '',
        then for each worker: name, last heartbeat in microseconds, events in flight, oldest of them or ''}
]]
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', now)
for _, ahead in ipairs(call('ZRANGE', KEYS[1], '(' .. stamp, '+inf', 'BYSCORE')) do
  redis.pcall('ZADD', KEYS[1], stamp, ahead) -- where nothing may be written it is as old as now
end
local found = {now, call('LLEN', KEYS[2]), call('LLEN', KEYS[3]), call('LINDEX', KEYS[2], -1) or ''}
local workers = call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #workers, 2 do
  local processing = ARGV[1] .. workers[i]
  local last = #found
  found[last + 1], found[last + 2] = workers[i], workers[i + 1]
  found[last + 3], found[last + 4] = call('LLEN', processing), call('LINDEX', processing, -1) or ''
end
return found
