#!lua flags=allow-oom
--[[
Admit this life of the server, unless it is another one by now, or the caller's lock is gone.

KEYS  1 admission   2 ready marker of earlier versions   3 rebuild lock
ARGV  1 admission: nonce, scope, run_id, master_replid   2 value of the marker   3 nonce of the caller's lock
Result 1, or 0 when it was not admitted
]]
local _, _, run_id, replid = string.match(ARGV[1], '^(%S+) (%S+) (%S+) (%S+)')
local replication = redis.call('INFO', 'replication')
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. run_id, 1, true)
  or not string.find(replication, 'master_replid:' .. replid, 1, true)
  or not string.find(replication, 'role:master', 1, true)
  or redis.call('GET', KEYS[3]) ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
return 1
