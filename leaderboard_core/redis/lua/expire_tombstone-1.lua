#!lua flags=allow-oom
--[[
Let the tombstone of a deletion expire, now that Postgres has the deletion; a later deletion's tombstone stays.

KEYS  1 tombstone
ARGV  1 microseconds of the deletion   2 time to live in seconds
Result 1, or 0 when the tombstone is another deletion's or gone
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 0
