#!lua flags=allow-oom
--[[
Forget a batch that Postgres has committed; what Postgres refused goes to the dead-letter list in
the same step. Nothing happens unless the list holds just that batch, under the same admission: after a lost answer it
may hold an event that the worker never saw, after a reclaim nothing, and on an older copy of the data other events.

KEYS  1 the worker's processing list   2 dead-letter list   3 admission
ARGV  1 events in the batch   2 digest of the newest of them   3 admission under which it was taken   then dead letters, JSON
Result 'ok', 'gone' (acknowledged already, reclaimed or lost) or 'changed' (the list has to be read again)
]]
local length = redis.call('LLEN', KEYS[1])
if length == 0 then
  return 'gone'
end
if length ~= tonumber(ARGV[1]) or redis.sha1hex(redis.call('LINDEX', KEYS[1], 0)) ~= ARGV[2]
  or redis.call('GET', KEYS[3]) ~= ARGV[3] then
  return 'changed'
end
for i = 4, #ARGV do
  redis.call('LPUSH', KEYS[2], ARGV[i])
end
redis.call('DEL', KEYS[1])
return 'ok'
