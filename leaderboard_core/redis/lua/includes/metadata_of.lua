--[[
The metadata of a player's entry, as JSON, '' for none: it stands last in the entry's text, and nothing before it has a
brace. `prefix` begins the names of the hashes of players' entries, and `field` names the entry.
]]
local function metadata_of(prefix, field, user_id)
  return string.match(redis.call('HGET', prefix .. user_id, field) or '', '{.*$') or ''
end
