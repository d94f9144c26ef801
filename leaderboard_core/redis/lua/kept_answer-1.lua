--[[
Read the answer that is kept for an Idempotency-Key, whatever player it was about.

KEYS  1 idempotency answer
Result the answer as the write kept it, or nothing
]]
--@acknowledged
local kept = redis.call('GET', KEYS[1])
if kept then
  -- The same end again: a write, for whoever waits until a replica has what the answer rests on.
  redis.call('PEXPIREAT', KEYS[1], redis.call('PEXPIRETIME', KEYS[1]))
end
return kept
