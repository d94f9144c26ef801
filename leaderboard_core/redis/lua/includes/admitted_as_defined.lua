--[[
As `admitted`, and read which definition the board has, whose key is BOARD: '0 0' where nobody has defined it.
]]
local ADMISSION = '@admission@'
local found = redis.call('MGET', KEYS[1], BOARD)
if found[1] ~= ADMISSION then
  return redis.error_reply('COLD another admission than this script was loaded for')
end
local DEFINITION = found[2] or '0 0'
