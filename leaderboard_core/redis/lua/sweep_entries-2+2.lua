#!lua flags=allow-oom
--[[
Take entries of a board that is gone off one of its sets, and out of the hashes of their players.

KEYS  1 the board's definition   2 the set
      then for each entry: 1 the hash of its player's entries   2 its player's hash
ARGV  1 id of the board that is gone   2 its field in the hashes
      then for each entry its member
Result number of entries taken; -1 when this shard does not know that the board is gone
]]
--@include forget_returned
local id, version = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%w+)')
if not id or tonumber(id) < tonumber(ARGV[1]) or (tonumber(id) == tonumber(ARGV[1]) and version ~= 'gone') then
  return -1
end
for i = 3, #ARGV do
  redis.call('HDEL', KEYS[2 * i - 3], ARGV[2])
  forget_returned(KEYS[2 * i - 2], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
return #ARGV - 2
