--[[
Say that this Redis holds all its data, unless it has been restarted since the caller looked.

KEYS  1 ready marker
ARGV  1 run_id that the caller saw   2 value of the marker
Result 1, or 0 when this is another life of the server
]]
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[1], 1, true) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
