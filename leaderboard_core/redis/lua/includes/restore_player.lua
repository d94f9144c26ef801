--[[
Write a player as a row of Postgres has it into its hash, or as an event of it: what the hash had is replaced as a
whole, so that nothing of a predecessor stays, but for a clock that is ahead of the row, and a count of submits that is
(`submits` is '0' for none, `metadata` '' for none).
]]
local function restore_player(key, kept, region, name, score, updated_at, protected, since, last_key, credential, submits, metadata)
  local fields = {'name', name, 'region', region, 'score', score, 'updated_at', updated_at}
  local function add(field, value)
    fields[#fields + 1], fields[#fields + 2] = field, value
  end
  if protected == '1' then
    add('protected', '1')
  end
  if since ~= '0' then
    add('since', since)
  end
  if last_key ~= '' then
    add('key', last_key)
  end
  if credential ~= '' then
    add('credential', credential)
  end
  if kept then
    local ahead = redis.call('HMGET', key, 'clock', 'submits')
    if ahead[1] and tonumber(ahead[1]) > tonumber(updated_at) then
      add('clock', ahead[1])
    end
    if ahead[2] and tonumber(ahead[2]) > tonumber(submits) then
      submits = ahead[2]
    end
    redis.call('DEL', key)
  end
  if submits ~= '0' then
    add('submits', submits)
  end
  if metadata ~= '' then
    add('metadata', metadata)
  end
  redis.call('HSET', key, unpack(fields))
end
