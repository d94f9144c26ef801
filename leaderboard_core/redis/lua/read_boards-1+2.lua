--[[
Read the definitions of boards.

KEYS  1 admission
      then for each board:
      1 its definition   2 its rules
Result definition or false and rules or false of each board, in their order
]]
--@include admitted
local found = {}
for first = 2, #KEYS, 200 do
  for _, value in ipairs(redis.call('MGET', unpack(KEYS, first, math.min(first + 199, #KEYS)))) do
    found[#found + 1] = value
  end
end
return found
