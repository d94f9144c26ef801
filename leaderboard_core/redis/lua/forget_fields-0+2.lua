#!lua flags=allow-oom
--[[
Forget entries of players that no set leads to, of boards that are gone.

KEYS  none of its own
      then for each entry: 1 the hash of its player's entries   2 its player's hash
ARGV  for each entry its field
Result number of entries that were there
]]
--@include forget_returned
local forgotten = 0
for i = 1, #ARGV do
  forgotten = forgotten + redis.call('HDEL', KEYS[2 * i - 1], ARGV[i])
  forget_returned(KEYS[2 * i], ARGV[i])
end
return forgotten
