--[[
How many players of this shard stand strictly above a score that a player of another shard has.

KEYS  1 ready marker   2 board
ARGV  1 score
Result {'cold'}, or {'ok', total, above}
]]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'cold'}
end
return {
  'ok',
  string.format('%.0f', redis.call('ZCARD', KEYS[2])),
  string.format('%.0f', redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[1], '+inf')),
}
