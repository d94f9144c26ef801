--[[
Look at the server that answers: which life of which Redis it is, and whether its admission is for that. An admission
of another life is closed, with all that it says of that one: the next one knows what it held.

KEYS  1 admission   2 ready marker of earlier versions
ARGV  1 scope: regions, sorted, with commas between them, and which part of their players, if not all
Result {state, admission or '', run_id, master_replid}
       state = 'open' | 'closed' (also when there is none, or for another scope, or workers alone) | 'replica'
]]
local server, replication = redis.call('INFO', 'server'), redis.call('INFO', 'replication')
local run_id, replid = string.match(server, 'run_id:(%x+)'), string.match(replication, 'master_replid:(%x+)')
local admission = redis.call('GET', KEYS[1]) or ''
if not string.find(replication, 'role:master', 1, true) then
  return {'replica', admission, run_id, replid}
end
local nonce, scope, their_run_id, their_replid, note = string.match(admission, '^(%S+) (%S+) (%S+) (%S+)(.*)$')
if not nonce or nonce == 'closed' then
  return {'closed', admission, run_id, replid}
end
if their_run_id ~= run_id or their_replid ~= replid then
  -- If this cannot be written (no memory left), whoever looks sees all the same what it says.
  redis.pcall('SET', KEYS[1], 'closed' .. string.sub(admission, #nonce + 1))
  redis.pcall('DEL', KEYS[2])
  return {'closed', admission, run_id, replid}
end
return {scope == ARGV[1] and note ~= ' repartitioning' and 'open' or 'closed', admission, run_id, replid}
