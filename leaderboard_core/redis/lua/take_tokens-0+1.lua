--[[
Take a token from each of some buckets, or none if one of them is empty.

KEYS  none of its own
      then for each bucket: 1 the bucket
ARGV  none of its own, then for each bucket: tokens, window in microseconds
Result {0, 0} when they were taken, else {number of the bucket that is empty for longest, microseconds to wait}
]]
--@include token_bucket
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels, emptiest, longest = {}, 0, 0
for n = 1, #KEYS do
  local level, wait = bucket_level(KEYS[n], tonumber(ARGV[2 * n - 1]), tonumber(ARGV[2 * n]), now)
  levels[n] = level
  if wait > longest then
    emptiest, longest = n, wait
  end
end
if longest > 0 then
  return {emptiest, longest}
end
for n = 1, #KEYS do
  local window = tonumber(ARGV[2 * n])
  redis.call('HSET', KEYS[n], 'level', string.format('%.0f', levels[n] - window), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[n], string.format('%.0f', math.ceil(window / 1000)))
end
return {0, 0}
