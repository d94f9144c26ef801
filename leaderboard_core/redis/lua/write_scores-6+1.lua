--[[
Several score writes of one region, one after the other in the order given; each is accepted or refused on its own,
exactly as write_score would.

KEYS  1 admission   2 region's board   3 GLOBAL board   4 queue   5 region's bucket   6 player's bucket (any key of this shard
      where the writes are a server's)
      then for each board: 1 its definition   2 its set of the region   3 and of GLOBAL (may be the same)
      then for each write: 1 player's hash   2 idempotency answer   3 registration claim   4 player's entries
ARGV  1 region
      2 queue length at which writes are refused
      3 region's bucket: tokens per second ('0' ignores it)
      4 seconds to keep the answers for Idempotency-Keys ('0' when there are none)
      5 fingerprint of the request, to tell a reused key
      6 from when to when claims held elsewhere hold, in microseconds of this Redis ('0' when there can be none)
      7 prefix of the tombstones
      8 player's bucket: tokens ('0' ignores it)   9 and its window in microseconds
     10 microseconds at which the player's token was issued ('' when it is a server's)
     11 may a missing player be made: '1' | '0'   12 number of boards
      then for each board:
      1 rules, as write_score has them   2 definition that they are of   3 `<board>.<id>:<window>`, '' for main
      then for each write:
      1 number of its board   2 operation: set | add | force   3 user_id   4 name ('' keeps the stored one)
      5 score, or delta for add   6 start of the event's JSON, without the closing brace
      7 hash of the subject and its Idempotency-Key ('' when there is none)   8 metadata as JSON, '' for none
Result a result of write_score for each write, in their order; {'stale_definition', number, ...} of the boards of which
       another definition stands on this shard
]]
--@acknowledged
--@include admitted
--@include token_bucket
--@include place_member
--@include change_entry
--@include write_score
local function place_members(region_set, global_set, scores)
  if #scores > 0 then
    redis.call('ZADD', region_set, unpack(scores))
    if global_set ~= region_set then
      redis.call('ZADD', global_set, unpack(scores))
    end
  end
end

local boards, stale = {}, {'stale_definition'}
for n = 1, tonumber(ARGV[12]) do
  local key, arg = 3 * n + 4, 3 * n + 10
  local definition, field = redis.call('GET', KEYS[key]) or '0 0', ARGV[arg + 2]
  boards[n] = field ~= '' and board_of(KEYS[key + 1], KEYS[key + 2], field, ARGV[arg], definition)
  if definition ~= ARGV[arg + 1] or (field ~= '' and not boards[n]) then
    stale[#stale + 1] = string.format('%d', n)
  elseif boards[n] then
    boards[n].scores = {}
  end
end
if #stale > 1 then
  return stale
end
local keys = {KEYS[1], '', KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[5], '', ''}
local args = {
  '', '', ARGV[1], '', '', '', ARGV[2], ARGV[8], ARGV[9], ARGV[3], ARGV[4], ARGV[11], ARGV[6], ARGV[7], '', '', '', '',
  ARGV[10], ARGV[5], '',
}
local time = redis.call('TIME')
local started = time[1] * 1000000 + time[2]
local batch = {now = started, length = redis.call('LLEN', KEYS[4]), scores = {}, events = {}}
if ARGV[3] ~= '0' then
  batch.level = bucket_level(KEYS[5], tonumber(ARGV[3]), 1000000, started)
end
local results = {}

local function write_all()
  local key, arg, n = 7 + 3 * #boards, 13 + 3 * #boards, 1
  while KEYS[key] do
    local number, entry = tonumber(ARGV[arg]), nil
    local board = boards[number]
    keys[2], keys[8], keys[9] = KEYS[key], KEYS[key + 1], KEYS[key + 2]
    args[1], args[2], args[4], args[5], args[6] = ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4], ARGV[arg + 5]
    args[15], args[21] = ARGV[3 * number + 10], ARGV[arg + 6]
    if board then
      entry = entry_of(KEYS[key + 3], board, ARGV[arg + 7])
    end
    results[n] = table.concat(write_score(keys, args, entry, ARGV[arg + 7], batch), '\0')
    key, arg, n = key + 4, arg + 8, n + 1
    batch.now = batch.now + 1 -- of equal scores the first in the list was there earlier; to write one takes longer
  end
end

-- What is written when an error comes has its event and its place, and the error is said after all.
local done, problem = pcall(write_all)
if batch.taken then
  redis.call('HSET', KEYS[5], 'level', string.format('%d', batch.level), 'at', string.format('%d', started))
end
if #batch.events > 0 then
  redis.call('LPUSH', KEYS[4], unpack(batch.events))
end
place_members(KEYS[2], KEYS[3], batch.scores)
for n = 1, #boards do
  if boards[n] then
    place_members(boards[n].region_set, boards[n].global_set, boards[n].scores)
  end
end
return done and results or redis.error_reply(problem)
