#!lua flags=allow-oom
--[[
Close an admission, unless it is another one by now or a worker is comparing this Redis with Postgres already. What it
says of the server and its regions stays, for the next one.

KEYS  1 admission   2 ready marker of earlier versions   3 rebuild lock
ARGV  1 admission that the caller has read
Result 1 when it was closed, else 0
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
redis.call('SET', KEYS[1], (string.gsub(ARGV[1], '^%S+', 'closed')))
redis.call('DEL', KEYS[2])
return 1
