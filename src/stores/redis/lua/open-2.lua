-- Begins the log where there is none, fences it where another server wrote it, and gives it a new epoch where the caller knows
-- of something that it no longer holds.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[1] is the epoch that the caller knows, or empty
-- ARGV[6] epoch to take where a new one is needed; ARGV[7] newest place that the caller has followed or was promised, or empty;
-- ARGV[8] number of shards that the caller reckons with; ARGV[9] "1" where it may begin the log
-- Result: { place, epoch, seq, floor, moment at which the next entry expires or empty }
-- Redis takes back nothing that a script has written before a call that the user may not make. So what
-- the scripts call is asked for beforehand, from Redis 7 on.
local CALLS = [[DEL EXISTS GET HDEL HEXISTS HGET HGETALL HINCRBY HKEYS HLEN HMGET HSET PEXPIRE PEXPIREAT PTTL
  SADD SET SMEMBERS SREM XADD XTRIM ZADD ZCARD ZCOUNT ZMSCORE ZRANGE ZRANGEBYSCORE ZREM ZREMRANGEBYRANK
  ZREMRANGEBYSCORE ZREVRANGEBYSCORE ZSCORE]]
for command in string.gmatch(redis.acl_check_cmd and CALLS or '', '%u+') do
  if not redis.acl_check_cmd(command, P .. '-') then
    return redis.error_reply("NOPERM the user may not run the '" .. string.lower(command) .. "' command on " .. P .. '*')
  end
end
-- A Redis without room refuses the first write of a script if it may take room, and none behind it: what follows must be possible.
call('DEL', P .. '-')
local epoch = state[1]
local shards = call('HGET', S, 'shards') or '1'
if epoch and shards ~= ARGV[8] then return redis.error_reply('SHARDS the log was begun with REDIS_SHARDS=' .. shards) end
if not epoch then
  if ARGV[9] ~= '1' then return redis.error_reply('UNBEGUN the first of the shards has not been reached yet') end
  epoch = ARGV[6]
  call('HSET', S, 'epoch', epoch, 'seq', '0', 'sub', '0', 'shards', ARGV[8], 'run', run_id())
  seq, sub = 0, 0
else
  fence()
  local known = tonumber(ARGV[7])
  if epoch == ARGV[1] and known then
    local lost = known > seq
    for tail, top in string.gmatch(call('HGET', S, 'fences') or '', '(%d+) (%d+);') do
      lost = lost or (known > tonumber(tail) and known < tonumber(top))
    end
    if lost then
      epoch = ARGV[6]
      call('HSET', S, 'epoch', epoch)
    end
  end
end
local place = finish()
if epoch ~= state[1] and not appended then wake(place) end
return { place, epoch, seq, tonumber(call('HGET', S, 'floor') or 0), call('ZRANGE', P .. 'x:', 0, 0, 'WITHSCORES')[2] or '' }
