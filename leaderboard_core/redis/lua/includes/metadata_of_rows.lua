--[[
The metadata of rows, as `named_rows` gives them: in their order, as one text, or nil where `field` is: nobody asked. Needs
metadata_of.
]]
local function metadata_of_rows(rows, digits, prefix, field)
  if not field then
    return nil
  end
  local found = {}
  for i = 1, #rows, 2 do
    found[(i + 1) / 2] = metadata_of(prefix, field, string.sub(rows[i], digits + 1))
  end
  return table.concat(found, '\0')
end
