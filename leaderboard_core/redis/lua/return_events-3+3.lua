#!lua flags=allow-oom
--[[
Give events back that Postgres refused for they were taken under an earlier admission: what this Redis has lost
meanwhile comes onto the boards and into the queue as a new write, unless the player's card was written, or the player
deleted, later. Workers may hold events of one player, and the older be given back first: the hash keeps which one it
was and the time that it got, `returned`, so that the newer one is not taken for older than that. A later write of the
card replaces the score, the name and the key of an event; a secret or a first password that it does not know of is none
of these, and comes back into what the later write has made. Should the event turn out to be a predecessor's, the hash
keeps in `merged` its time and what was there before. Entries come back by return_entries, deletions by return_deletion.

KEYS  1 queue   2 region's board   3 GLOBAL board
      then for each event: 1 its player's hash   2 tombstone   3 when that was given back (those of nobody for what is no
         event of a player)
ARGV  1 region   then events, JSON, without entries
Result number of events that came back
]]
--@include restore_player
--@include returned
--@include card_event
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

-- The event of a player as the later write left it, with a credential that was lost; nil where nothing was.
local function merge(event, key, last, timestamp)
  local kept = call('HMGET', key, 'protected', 'credential', 'credential_at', 'key', 'returned', 'updated_at', 'merged')
  local at = type(event.credential_at) == 'string' and event.credential_at or '0'
  local newer = tonumber(at) > tonumber(kept[3] or '0') and event.credential ~= kept[2]
  local protects = event.protected == true and not kept[1]
  if not newer and not protects then
    return nil
  end
  local stamp = string.format('%.0f', math.max(now, last + 1))
  local fields = {'updated_at', stamp}
  local function add(field, value)
    fields[#fields + 1], fields[#fields + 2] = field, value
  end
  if protects then
    add('protected', '1')
  end
  if newer then
    add('credential', event.credential)
    add('credential_at', at)
  end
  if kept[4] then
    add('key', (string.gsub(kept[4], '%d+$', stamp)))
  end
  local written, given = string.match(kept[5] or '', '^(%d+) (%d+)$')
  if given == kept[6] then
    add('returned', written .. ' ' .. stamp)
    local merged_at, before = string.match(kept[7] or '', '^(%d+) (.*)$')
    before = before or table.concat({kept[1] and '1' or '0', kept[3] or '0', kept[2] or ''}, ' ')
    add('merged', string.format('%.0f', math.max(tonumber(merged_at or '0'), tonumber(timestamp))) .. ' ' .. before)
  end
  call('HSET', key, unpack(fields))
  call('HDEL', key, 'clock')
  return card_event(key, event.user_id, ARGV[1], event.request_id)
end

local function write(raw, event, key, tombstone, returned, timestamp, score)
  local kept = call('HMGET', key, 'region', 'updated_at', 'since', 'clock', 'returned', 'returned_entries')
  if kept[1] and (kept[1] ~= ARGV[1] or tonumber(kept[2]) == tonumber(timestamp)) then
    return raw
  end
  local deleted_at = kept[3] or call('GET', tombstone) or '0'
  local deleted = deleted_at ~= '0' and written_at(call('GET', returned), deleted_at) or '0'
  if tonumber(timestamp) <= tonumber(deleted) then
    return nil
  end
  -- Entries move the clock, and leave the card as it was.
  local last = tonumber(kept[4] or kept[2] or deleted_at)
  if kept[1] and tonumber(written_at(kept[5], kept[2])) >= tonumber(timestamp) then
    return merge(event, key, last, timestamp)
  end
  -- A time of its own: whatever asks for the latest writes only has to find it among them.
  local stamp = string.format('%.0f', math.max(now, last + 1, tonumber(timestamp) + 1))
  local last_key = type(event.key) == 'string' and string.gsub(event.key, '%d+$', stamp) or ''
  local protected, credential = event.protected == true and '1' or '0', event.credential
  credential = type(credential) == 'string' and credential or ''
  local submits = type(event.submits) == 'number' and string.format('%d', event.submits) or '0'
  -- As it is: cjson would round its numbers. It stands last in an event without entries.
  local metadata = type(event.metadata) == 'table' and string.match(raw, ',%s*"metadata":%s*({.*})}$') or ''
  restore_player(
    key, kept[1], ARGV[1], event.name, score, stamp, protected, deleted_at, last_key, credential, submits, metadata)
  call('HSET', key, 'returned', timestamp .. ' ' .. stamp)
  if kept[6] then
    call('HSET', key, 'returned_entries', kept[6])
  end
  if type(event.credential_at) == 'string' then
    call('HSET', key, 'credential_at', event.credential_at)
  end
  call('ZADD', KEYS[2], score, event.user_id)
  if KEYS[2] ~= KEYS[3] then
    call('ZADD', KEYS[3], score, event.user_id)
  end
  raw = string.gsub(raw, '("timestamp":%s*)%d+', '%1' .. stamp, 1)
  return last_key == '' and raw or (string.gsub(raw, '("key":"[^"]* )%d+"', '%1' .. stamp .. '"', 1))
end

local returned = 0
for i = 2, #ARGV do
  local raw = ARGV[i]
  local decoded, event = pcall(cjson.decode, raw)
  local timestamp, score = string.match(raw, '"timestamp":%s*(%d+)'), string.match(raw, '"score":%s*(-?%d+)')
  -- What is no event of a player goes the queue's way to the dead letters.
  local key = KEYS[3 * i - 2]
  local known = decoded and type(event) == 'table' and event.region == ARGV[1] and type(event.user_id) == 'string'
  if known and timestamp and score and type(event.name) == 'string' and string.sub(key, -#event.user_id) == event.user_id then
    raw = write(raw, event, key, KEYS[3 * i - 1], KEYS[3 * i], timestamp, score)
  end
  if raw then
    call('LPUSH', KEYS[1], raw)
    returned = returned + 1
  end
end
return returned
