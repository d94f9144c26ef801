--[[
Give a claim back, if it is still ours.

KEYS  1 claim
ARGV  1 nonce
Result 1 when it was ours, else 0
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
