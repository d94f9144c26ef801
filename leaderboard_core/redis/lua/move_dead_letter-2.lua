--[[
Take a dead letter off its list, and give its event another try if it is to have one.

KEYS  1 dead-letter list   2 queue
ARGV  1 entry   2 event ('' drops it)
Result 1, or 0 when the entry is not there any more
]]
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return 0
end
if ARGV[2] ~= '' then
  redis.call('RPUSH', KEYS[2], ARGV[2])
end
return 1
