#!lua flags=allow-oom
--[[
Define a board on this shard, unless a later definition of its name is there.

KEYS  1 the board's definition   2 its rules   3 names of all boards   4 greatest id   5 names of those that are there
ARGV  1 name   2 id   3 version, or 'gone'   4 rules as JSON
Result the definition that is there then, as define_board returns it
]]
--@acknowledged
--@include define_board
return define_board(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
