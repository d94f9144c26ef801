--[[
Find a player by user_id alone, and read this Redis' clock.

KEYS  1 admission   2 player's hash   3 tombstone   4 GLOBAL board
ARGV  1 user_id
Result {'missing', now, deleted_at}, {'incomplete'} (on the board without a hash), or
       {'ok', now, deleted_at, region, name, score, updated_at, protected '1' | '0', credential ('' if none), submits,
        metadata ('' if none)}
       times in microseconds; deleted_at = when a player of that user_id was deleted last, '0' if that is unknown
]]
--@include admitted
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local user = redis.call('HMGET', KEYS[2], 'region', 'name', 'score', 'updated_at', 'protected', 'since', 'credential', 'submits', 'metadata')
if user[1] then
  return {
    'ok', now, user[6] or '0', user[1], user[2], user[3], user[4], user[5] or '0', user[7] or '', user[8] or '0', user[9] or ''
  }
elseif redis.call('ZSCORE', KEYS[4], ARGV[1]) then
  return {'incomplete'}
end
return {'missing', now, redis.call('GET', KEYS[3]) or '0'}
