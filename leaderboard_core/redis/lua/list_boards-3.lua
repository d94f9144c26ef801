--[[
Name boards that are there in the order of their names, those behind one; where an earlier version has kept no order, all
that have a definition, also those that are gone, in no order.

KEYS  1 admission   2 names of those that are there   3 names of all boards
ARGV  1 the name before ('' at first)   2 names at most
Result names, with '' before them where they are all
]]
--@include admitted
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.call('ZRANGE', KEYS[2], '(' .. ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
end
local names = redis.call('SMEMBERS', KEYS[3])
table.insert(names, 1, '')
return names
