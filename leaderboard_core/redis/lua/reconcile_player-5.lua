#!lua flags=allow-oom
--[[
Reconcile a player's hash, boards and (through the queue) Postgres row, from the newer side. What was
read from Postgres may be old by now: the times decide, in this one step.

KEYS  1 player's hash   2 region's board   3 GLOBAL board   4 queue   5 tombstone
ARGV  1 user_id   2 region   3 request_id for the event
      4 updated_at of the Postgres row ('' when there is none)   5 its name   6 its score   7 protected '1' | '0'
      8 when Postgres deleted the player ('0' if never)   9 time to live in seconds of a tombstone that Postgres has too
     10 the row's last Idempotency-Key ('' if none)   11 its credential ('' if none)   12 its submits ('0' if none)
     13 its metadata ('' if none)
Result 'from_postgres' | 'from_redis' | 'elsewhere' (another region's) | 'deleted' (here, and from Postgres again)
       | 'removed' (deleted in Postgres, or on a board and nowhere else)
]]
--@include restore_player
local function on_boards(score)
  redis.call('ZADD', KEYS[2], score, ARGV[1])
  if KEYS[2] ~= KEYS[3] then
    redis.call('ZADD', KEYS[3], score, ARGV[1])
  end
end

local function read_user()
  return redis.call('HMGET', KEYS[1], 'region', 'name', 'score', 'updated_at', 'protected', 'clock', 'credential', 'credential_at',
    'submits', 'metadata')
end

local user = read_user()
if user[1] and user[1] ~= ARGV[2] then
  return 'elsewhere'
end
if ARGV[4] == '' and (not user[1] or tonumber(user[4]) <= tonumber(ARGV[8])) then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('DEL', KEYS[1])
  return 'removed'
end
local deleted_at = not user[1] and redis.call('GET', KEYS[5])
if deleted_at and tonumber(deleted_at) >= tonumber(ARGV[4]) then
  redis.call('LPUSH', KEYS[4],
    '{"user_id":' .. cjson.encode(ARGV[1]) .. ',"region":' .. cjson.encode(ARGV[2])
    .. ',"request_id":' .. cjson.encode(ARGV[3])
    .. ',"deleted":true,"keep":' .. ARGV[9] .. ',"timestamp":' .. deleted_at .. '}')
  return 'deleted'
end
local same = user[1] and ARGV[4] ~= '' and tonumber(ARGV[4]) == tonumber(user[4]) and ARGV[5] == user[2] and ARGV[6] == user[3]
local outcome, credential = 'from_redis', user[7] or ''
-- Of one write whether there is a password is known better where passwords are; a credential only a deletion removes.
local row_knows_more = same and (ARGV[7] ~= (user[5] or '0') or (ARGV[11] ~= '' and ARGV[11] ~= credential))
if not user[1] or (ARGV[4] ~= '' and tonumber(ARGV[4]) > tonumber(user[4])) or row_knows_more then
  restore_player(KEYS[1], user[1], ARGV[2], ARGV[5], ARGV[6], ARGV[4], ARGV[7], ARGV[8], ARGV[10], ARGV[11], ARGV[12], ARGV[13])
  user, same = read_user(), true
  outcome, credential = 'from_postgres', user[7] or ''
end
on_boards(user[3])
-- Of submits the greater number counts, whichever side is newer.
local submits, metadata = user[9] or '0', user[10] or ''
if tonumber(ARGV[12]) > tonumber(submits) then
  submits = ARGV[12]
  redis.call('HSET', KEYS[1], 'submits', submits)
end
if same and ARGV[11] == credential and ARGV[12] == submits and ARGV[13] == metadata then
  return outcome
end
local time = redis.call('TIME')
local updated_at = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(user[6] or user[4]) + 1))
redis.call('HSET', KEYS[1], 'updated_at', updated_at)
redis.call('HDEL', KEYS[1], 'clock')
redis.call('LPUSH', KEYS[4],
  '{"user_id":' .. cjson.encode(ARGV[1]) .. ',"name":' .. cjson.encode(user[2])
  .. ',"region":' .. cjson.encode(ARGV[2]) .. ',"score":' .. user[3]
  .. ',"timestamp":' .. updated_at .. ',"request_id":' .. cjson.encode(ARGV[3])
  .. (user[5] and ',"protected":true' or '')
  .. (credential ~= '' and ',"credential":"' .. credential .. '"' or '')
  .. (user[8] and ',"credential_at":"' .. user[8] .. '"' or '')
  .. (submits ~= '0' and ',"submits":' .. submits or '')
  .. (metadata ~= '' and ',"metadata":' .. metadata or '') .. '}')
return outcome
