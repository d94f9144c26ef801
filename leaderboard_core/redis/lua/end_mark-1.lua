#!lua flags=allow-oom
--[[
Let the mark of a deletion end after some time, now that Postgres remembers it; a later deletion's mark stays.

KEYS  1 mark of the deletion
ARGV  1 microseconds of the deletion   2 seconds
Result 1, or 0 when the mark is another deletion's or gone
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 0
