--[[
Say that this Redis holds all its data, unless it has been restarted or emptied since the caller looked.

KEYS  1 ready marker   2 rebuild lock
ARGV  1 run_id that the caller saw   2 value of the marker   3 nonce of the caller's lock
Result 1, or 0 when this is another life of the server or the lock is gone
]]
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[1], 1, true) then
  return 0
end
if redis.call('GET', KEYS[2]) ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
