--[[
The event that says the state of one entry as of `stamp`, for the queue: JSON. `field` and `state` are as the hash of a
player's entries has them; needs merge_entry. Numbers stay texts: cjson would round them.
]]
local function entry_event(user_id, region, name, request_id, field, state, stamp)
  local board, board_id, window = string.match(field, '^([^.]+)%.(%d+):(.+)$')
  local entry = read_entry(state)
  local hash, fingerprint, metadata = string.match(entry.more, '^ @([^ :]*):(%S*)(.*)$')
  metadata = string.match(metadata or entry.more, '^ (.+)$')
  local fields = {'"board_id":' .. board_id .. ',"board":"' .. board .. '","window":"' .. window .. '"'}
  if entry.key == '-' then
    fields[2] = '"removed":true'
  else
    local tie = entry.tie == '-' and '' or entry.tie
    fields[2] = '"key":' .. entry.key .. ',"member":' .. cjson.encode(tie .. user_id)
  end
  fields[3] = '"submits":' .. entry.submits .. ',"base_at":' .. entry.base_at
  fields[4] = '"best":' .. (entry.best == '1' and 'true' or 'false')
  fields[5] = metadata and '"metadata":' .. metadata
  return '{"user_id":' .. cjson.encode(user_id) .. ',"name":' .. cjson.encode(name)
    .. ',"region":' .. cjson.encode(region) .. ',"timestamp":' .. stamp .. ',"request_id":' .. cjson.encode(request_id)
    .. (hash and ',"key":' .. cjson.encode(hash .. ' ' .. fingerprint .. ' 0 ' .. stamp) or '')
    .. ',"entries":[{' .. table.concat(fields, ',') .. '}]}'
end
