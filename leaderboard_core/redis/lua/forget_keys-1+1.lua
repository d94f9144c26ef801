--[[
Delete keys while the lock of a rebuild is the caller's: who was paused for longer than it lives deletes nothing.

KEYS  1 lock of the rebuild
      then for each key that key
ARGV  1 nonce of the lock
Result 1, or 0 when the lock is gone or another's
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for i = 2, #KEYS do
  redis.call('DEL', KEYS[i])
end
return 1
