#!lua flags=allow-oom
--[[
Delete a player: boards, hash, entries, bucket and the event for Postgres, in one atomic step. A tombstone stays that
says when, so that nothing from before that brings the player back; the worker lets it expire once Postgres has it too.

KEYS  1 admission       4 GLOBAL board     7 idempotency answer
      2 player's hash   5 queue            8 tombstone
      3 region's board  6 player's bucket  9 whether there are tombstones  10 player's entries
      then for each entry: 1 set of the region   2 GLOBAL set
ARGV  1 user_id   2 region
      3 start of the event's JSON: user_id, region, request_id, without the closing brace
      4 queue length at which writes are refused
      5 microseconds at which the player's token was issued ('' when it is a server's)
      6 microseconds that the time of the deletion must exceed, at most a day ahead
      7 time to live in seconds of the tombstone, once Postgres has it too
      8 seconds to keep the answer for an Idempotency-Key ('0' when there is none)   9 fingerprint of the request
      then for each entry its field
Result {'ok', deleted_at, nonce of the admission}, {'replay', fingerprint, 'deleted', deleted_at} (or the answer of another write), or
       {'refused', code, detail...}; nothing has changed:
         incomplete (on the board without a hash) | user_not_found | region_mismatch region | invalid_token | queue_full length
         | entries (the player has others than those given)
]]
--@acknowledged
--@include admitted
--@include take_entry
local call, format = redis.call, string.format
local issued_at, keep_answer = tonumber(ARGV[5]), tonumber(ARGV[8])

if keep_answer > 0 then
  local kept = call('GET', KEYS[7])
  if kept then
    local answer = {'replay'}
    for part in string.gmatch(kept, '[^\n]+') do
      answer[#answer + 1] = part
    end
    -- The same end again: a write, for whoever waits until a replica has what the answer rests on.
    call('PEXPIREAT', KEYS[7], call('PEXPIRETIME', KEYS[7]))
    -- A token that is newer than the deletion answered then speaks for another player of that user_id.
    if not (issued_at and answer[3] == 'deleted' and issued_at > tonumber(answer[4])) then
      return answer
    end
  end
end

local stored = call('HMGET', KEYS[2], 'region', 'updated_at', 'since', 'clock')
if not stored[1] then
  if call('ZSCORE', KEYS[4], ARGV[1]) then
    return {'refused', 'incomplete'}
  end
  return {'refused', 'user_not_found'}
elseif stored[1] ~= ARGV[2] then
  return {'refused', 'region_mismatch', stored[1]}
elseif issued_at and stored[3] and issued_at <= tonumber(stored[3]) then
  return {'refused', 'invalid_token'}
end
local length = call('LLEN', KEYS[5])
if length >= tonumber(ARGV[4]) then
  return {'refused', 'queue_full', format('%.0f', length)}
end
if call('EXISTS', KEYS[10]) == 1 then
  local given = {}
  for i = 10, #ARGV do
    given[ARGV[i]] = true
  end
  for _, field in ipairs(call('HKEYS', KEYS[10])) do
    if not given[field] then
      return {'refused', 'entries'}
    end
  end
  for i = 10, #ARGV do
    take_entry(KEYS[10], ARGV[i], KEYS[2 * i - 9], KEYS[2 * i - 8], ARGV[1])
  end
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local floor = math.min(tonumber(ARGV[6]), now + 86400000000)
local deleted_at = format('%.0f', math.max(now, tonumber(stored[4] or stored[2]) + 1, floor + 1))
call('ZREM', KEYS[3], ARGV[1])
if KEYS[4] ~= KEYS[3] then
  call('ZREM', KEYS[4], ARGV[1])
end
call('DEL', KEYS[2], KEYS[6])
call('SET', KEYS[8], deleted_at)
call('SET', KEYS[9], '1')
call('LPUSH', KEYS[5], ARGV[3] .. ',"deleted":true,"keep":' .. ARGV[7] .. ',"timestamp":' .. deleted_at .. '}')
if keep_answer > 0 then
  call('SET', KEYS[7], table.concat({ARGV[9], 'deleted', deleted_at}, '\n'), 'EX', ARGV[8])
end
return {'ok', deleted_at, string.match(ADMISSION, '^%S+')}
