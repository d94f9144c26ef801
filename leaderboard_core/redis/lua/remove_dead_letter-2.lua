--[[
Remove an entry from the dead-letter list: requeue its event, to be taken next, or discard it.

KEYS  1 dead-letter list   2 queue
ARGV  1 entry   2 event ('' discards it)
Result 1, or 0 when the entry is not there any more
]]
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return 0
end
if ARGV[2] ~= '' then
  redis.call('RPUSH', KEYS[2], ARGV[2])
end
return 1
