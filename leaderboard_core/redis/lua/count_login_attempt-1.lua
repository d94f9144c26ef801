--[[
Take a token from an account's bucket of login attempts; a login that succeeds deletes the bucket.

KEYS  1 bucket
ARGV  1 tokens   2 window in microseconds
Result 0 when the attempt is allowed, else microseconds to wait
]]
--@include token_bucket
local count, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local level, wait = bucket_level(KEYS[1], count, window, now)
if wait > 0 then
  return wait
end
redis.call('HSET', KEYS[1], 'level', string.format('%.0f', level - window), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(window / 1000)))
return 0
