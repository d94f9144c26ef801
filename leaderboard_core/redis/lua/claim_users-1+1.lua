--[[
Lease several user_ids at once, as claim_user does; a lease that is ours already begins anew.

KEYS  1 admission
      then for each user_id its claim
ARGV  1 nonce   2 lease in milliseconds
Result for each: 1 when it is ours, 0 when it is claimed by somebody else
]]
--@acknowledged
--@include admitted
local answer = {}
for i = 2, #KEYS do
  local ours = redis.call('SET', KEYS[i], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
  if ours == 0 and redis.call('GET', KEYS[i]) == ARGV[1] then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
    ours = 1
  elseif ours == 0 and redis.call('PTTL', KEYS[i]) > tonumber(ARGV[2]) then
    -- More left than a lease has: the clock has stepped back. Then it begins anew.
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
  answer[i - 1] = ours
end
return answer
