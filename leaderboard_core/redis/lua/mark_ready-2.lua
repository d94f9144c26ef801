--[[
Set the ready marker, unless this Redis was restarted or emptied since the caller read its run_id.

KEYS  1 ready marker   2 rebuild lock
ARGV  1 run_id that the caller read   2 value of the marker   3 nonce of the caller's lock
Result 1, or 0 when this is another incarnation of the server or the lock is gone
]]
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[1], 1, true) then
  return 0
end
if redis.call('GET', KEYS[2]) ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
