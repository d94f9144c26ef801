--[[
Put a board's definition in the place of an older one; the same one again is written again, its rules too. Of two the
one with the greater id is later, then one that is gone, then the one with the greater version. Returns what is there
then: id, and version or 'gone'; and ' differs' where that is this very version with other rules, which are left: who
knows the version would not see that they have changed. The shard keeps the greatest id that it was ever told,
and in a set of their own, in order, the names of boards that are not gone.
]]
local function define_board(definition_key, rules_key, names_key, last_id_key, living_key, name, id, version, rules)
  if tonumber(id) > tonumber(redis.call('GET', last_id_key) or '0') then
    redis.call('SET', last_id_key, id)
  end
  local there = redis.call('GET', definition_key)
  local known_id, known = string.match(there or '', '^(%d+) (%w+)')
  if known_id then
    local later = tonumber(known_id) > tonumber(id)
    if tonumber(known_id) == tonumber(id) and version ~= 'gone' then
      later = known == 'gone' or tonumber(known) > tonumber(version)
    end
    if later then
      redis.call('SET', definition_key, there) -- a write, so that replicas are waited for
      return there
    end
    local same = tonumber(known_id) == tonumber(id) and known == version and known ~= 'gone'
    if same and redis.call('GET', rules_key) ~= rules then
      return there .. ' differs'
    end
  end
  local definition = id .. ' ' .. version
  redis.call('SET', definition_key, definition)
  redis.call('SET', rules_key, rules)
  redis.call('SADD', names_key, name)
  if version == 'gone' then
    redis.call('ZREM', living_key, name)
    redis.call('ZADD', living_key, 0, '') -- there is such a set, also when it has no name
  else
    redis.call('ZADD', living_key, 0, name)
  end
  return definition
end
