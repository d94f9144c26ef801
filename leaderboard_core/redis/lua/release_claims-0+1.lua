--[[
Give claims back, those that are still ours.

KEYS  none of its own
      then for each user_id its claim
ARGV  1 nonce
Result number of those that were ours
]]
local ours = 0
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then
    ours = ours + redis.call('DEL', KEYS[i])
  end
end
return ours
