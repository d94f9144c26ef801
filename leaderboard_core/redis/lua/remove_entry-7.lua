--[[
Take a player's entry off a board. Its field stays, as that of one which was removed: whatever is older, whenever it comes,
must not bring it back.

KEYS  1 admission       3 queue                  5 player's entries
      2 player's hash   4 the board's definition 6 its set of the region   7 and of GLOBAL (may be the same)
ARGV  1 user_id   2 region
      3 start of the event's JSON: user_id, region, request_id, without the closing brace
      4 queue length at which writes are refused
      5 definition that the board is of   6 name of the entry, `<board>.<id>:<window>`
Result {'ok', time}, {'none'} when there is no such entry, or {'refused', code, detail...}; nothing has changed then:
         user_not_found | region_mismatch region | queue_full length | stale_definition
]]
--@acknowledged
local BOARD = KEYS[4]
--@include admitted_as_defined
--@include place_member
--@include place_entry
local call = redis.call
if DEFINITION ~= ARGV[5] or string.match(ARGV[6], '%.(%d+):') ~= string.match(DEFINITION, '^%d+') then
  return {'refused', 'stale_definition'}
end
local stored = call('HMGET', KEYS[2], 'region', 'name', 'updated_at', 'clock')
if not stored[1] then
  return {'refused', 'user_not_found'}
elseif stored[1] ~= ARGV[2] then
  return {'refused', 'region_mismatch', stored[1]}
end
local kept = call('HGET', KEYS[5], ARGV[6])
if not kept then
  return {'none'}
elseif string.sub(kept, 1, 2) == '- ' then
  call('HSET', KEYS[5], ARGV[6], kept) -- a write, for whoever waits until a replica has what the answer rests on
  return {'none'}
end
local length = call('LLEN', KEYS[3])
if length >= tonumber(ARGV[4]) then
  return {'refused', 'queue_full', string.format('%d', length)}
end
local time = call('TIME')
local clock = string.format('%d', math.max(time[1] * 1000000 + time[2], tonumber(stored[4] or stored[3]) + 1))
local submits, best = string.match(kept, '^%S+ %S+ %d+ (%d+) %d+ ([01])')
local removed = table.concat({'-', '-', clock, submits, clock, best}, ' ')
call('HSET', KEYS[5], ARGV[6], removed)
place_entry(KEYS[6], KEYS[7], ARGV[1], kept, removed)
call('HSET', KEYS[2], 'clock', clock)
local board, id, window = string.match(ARGV[6], '^([^.]+)%.(%d+):(.+)$')
call('LPUSH', KEYS[3], ARGV[3] .. ',"name":' .. cjson.encode(stored[2]) .. ',"timestamp":' .. clock
  .. ',"entries":[{"board_id":' .. id .. ',"board":"' .. board .. '","window":"' .. window .. '","submits":' .. submits
  .. ',"base_at":' .. clock .. (best == '1' and ',"best":true' or '') .. ',"removed":true}]}')
return {'ok', clock}
