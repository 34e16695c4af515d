-- Opens the log: begins it if there is none, fences it if another server wrote it, and gives it a
-- new epoch if the caller knows of events that it no longer holds.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[1] may be empty
-- ARGV[6] epoch to use if a new one is needed; ARGV[7] newest seq that the caller has followed or
-- was promised, or empty; ARGV[8] number of shards that the caller is set to; ARGV[9] "1" if it may
-- begin the log
-- Returns { id, epoch, head, floor, when the next entry expires, or empty } When a script makes a
-- call that the user may not make, Redis does not undo what the script wrote before. So the
-- permissions for all calls are checked here, with Redis 7 or later.
local CALLS = [[DEL EXISTS GET HDEL HEXISTS HGET HGETALL HINCRBY HKEYS HLEN HMGET HSET PEXPIRE
  PEXPIREAT PTTL SADD SET SMEMBERS SREM XADD XTRIM ZADD ZCARD ZCOUNT ZMSCORE ZRANGE ZRANGEBYSCORE
  ZREM ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGEBYSCORE ZSCORE]]
for command in string.gmatch(redis.acl_check_cmd and CALLS or '', '%u+') do
  if not redis.acl_check_cmd(command, P .. '-') then
    local lacking = "'" .. string.lower(command) .. "' command on " .. P .. '*'
    return redis.error_reply('NOPERM the user may not run the ' .. lacking)
  end
end
-- A full Redis refuses only the first write of a script that may need memory: what follows must be
-- possible.
call('DEL', P .. '-')
local epoch = state[1]
local shards = call('HGET', S, 'shards') or '1'
if epoch and shards ~= ARGV[8] then
  return redis.error_reply('SHARDS the log was begun with REDIS_SHARDS=' .. shards)
end
if not epoch then
  if ARGV[9] ~= '1' then
    return redis.error_reply('UNBEGUN the first of the shards has not been reached yet')
  end
  epoch = ARGV[6]
  call('HSET', S, 'epoch', epoch, 'seq', '0', 'sub', '0', 'shards', ARGV[8], 'run', run_id())
  head, sub = 0, 0
else
  fence()
  local known = tonumber(ARGV[7])
  if epoch == ARGV[1] and known and (known > head or is_fenced(known)) then
    epoch = ARGV[6]
    call('HSET', S, 'epoch', epoch)
  end
end
local id = finish()
if epoch ~= state[1] and not appended then wake(id) end
local floor = tonumber(call('HGET', S, 'floor') or 0)
return { id, epoch, head, floor, call('ZRANGE', P .. 'x:', 0, 0, 'WITHSCORES')[2] or '' }
