--[[
The metadata of a player's entry, as JSON, '' for none: it stands last in the entry's text, and nothing before it has a
brace. `prefix` begins the names of the hashes of players' entries, and `field` names the entry. That of rows, as
`named_rows` gives them, is a list in their order, or nil where `field` is: nobody asked.
]]
local function metadata_of(prefix, field, user_id)
  return string.match(redis.call('HGET', prefix .. user_id, field) or '', '{.*$') or ''
end

local function metadata_of_rows(rows, digits, prefix, field)
  if not field then
    return nil
  end
  local found = {}
  for i = 1, #rows, 2 do
    found[(i + 1) / 2] = metadata_of(prefix, field, string.sub(rows[i], digits + 1))
  end
  return found
end
