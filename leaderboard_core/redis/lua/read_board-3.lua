--[[
Read a board's definition.

KEYS  1 admission   2 the board's definition   3 its rules
Result {definition or false, rules or false}
]]
--@include admitted
return redis.call('MGET', KEYS[2], KEYS[3])
