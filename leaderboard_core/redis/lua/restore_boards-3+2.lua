#!lua flags=allow-oom
--[[
Define boards on this shard as Postgres, or another shard, has them, where nothing later is there.

KEYS  1 names of all boards   2 greatest id   3 names of those that are there
      then for each board:
      1 its definition   2 its rules
ARGV  for each board: name, id, version or 'gone', rules as JSON
Result the definitions that are there then, as define_board returns them, in their order
]]
--@include define_board
local found = {}
for n = 1, (#KEYS - 3) / 2 do
  local arg = 4 * (n - 1)
  found[n] = define_board(KEYS[2 * n + 2], KEYS[2 * n + 3], KEYS[1], KEYS[2], KEYS[3], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3],
    ARGV[arg + 4])
end
return found
