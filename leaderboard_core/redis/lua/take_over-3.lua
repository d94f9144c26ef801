#!lua flags=allow-oom
--[[
Put what a silent worker had taken from one queue back to the right end, oldest last, so that it is
taken next; nothing happens when the worker has given a sign of life meanwhile.

KEYS  1 queue   2 the silent worker's processing list   3 ZSET of workers
ARGV  1 the silent worker   2 silence in microseconds that counts as dead
Result number of events put back, -1 when the worker lives
]]
local time = redis.call('TIME')
local seen = redis.call('ZSCORE', KEYS[3], ARGV[1])
if seen and time[1] * 1000000 + time[2] - tonumber(seen) < tonumber(ARGV[2]) then
  return -1
end
local moved = 0
while redis.call('LMOVE', KEYS[2], KEYS[1], 'LEFT', 'RIGHT') do
  moved = moved + 1
end
return moved
