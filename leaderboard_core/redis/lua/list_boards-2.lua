--[[
Name the boards that have a definition here, also those that are gone.

KEYS  1 admission   2 names of all boards
Result names, in no order
]]
--@include admitted
return redis.call('SMEMBERS', KEYS[2])
