--[[
Read a hash whose name is no key of the script, as the scripts do that read names beside a board: a server may refuse it.

KEYS  1 a hash
ARGV  1 another hash
Result their names
]]
return {redis.call('HGET', KEYS[1], 'name'), redis.call('HGET', ARGV[1], 'name')}
