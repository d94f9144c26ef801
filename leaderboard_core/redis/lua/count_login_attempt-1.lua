--[[
Take a token from an account's bucket of login attempts; a login that succeeds deletes the bucket.
The arithmetic is that of write_score.

KEYS  1 bucket
ARGV  1 tokens   2 window in microseconds
Result 0 when the attempt is allowed, else microseconds to wait
]]
local count, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = count * window
if kept[1] then
  level = math.min(level, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * count)
end
if level < window then
  return math.ceil((window - level) / count)
end
redis.call('HSET', KEYS[1], 'level', string.format('%.0f', level - window), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(window / 1000)))
return 0
