--[[
Go on only under the admission for which this script was loaded: what a worker compared with Postgres is the life of
the server that it named, and no process has closed it since. Loading puts the admission into the text below.
]]
local ADMISSION = '@admission@'
if redis.call('GET', KEYS[1]) ~= ADMISSION then
  return redis.error_reply('COLD another admission than this script was loaded for')
end
