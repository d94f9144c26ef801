#!lua flags=allow-oom
--[[
Forget a batch that Postgres has committed; what Postgres refused goes to the dead-letter list in
the same step. Nothing happens unless the list holds just that batch: after a lost answer it may
hold an event that the worker never saw, and after a reclaim nothing.

KEYS  1 the worker's processing list   2 dead-letter list
ARGV  1 events in the batch   then dead letters, JSON
Result 'ok', 'gone' (acknowledged already, or reclaimed) or 'changed' (the worker must read its list again)
]]
local length = redis.call('LLEN', KEYS[1])
if length == 0 then
  return 'gone'
end
if length ~= tonumber(ARGV[1]) then
  return 'changed'
end
for i = 2, #ARGV do
  redis.call('LPUSH', KEYS[2], ARGV[i])
end
redis.call('DEL', KEYS[1])
return 'ok'
