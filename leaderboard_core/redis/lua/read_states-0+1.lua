--[[
Read the states of entries.

KEYS  none of its own
      then for each entry the entries of its player
ARGV  for each entry its field
Result for each its state, '' where there is none
]]
local answer = {}
for i, field in ipairs(ARGV) do
  answer[i] = redis.call('HGET', KEYS[i], field) or ''
end
return answer
