-- A node renews its lease and learns of the others. A node whose lease has ended is deleted with
-- its slots.
--
-- KEYS[1] nodes      sorted set: node -> when it was last seen, milliseconds by the clock of Redis
-- KEYS[2] reports    hash: node -> its report, as JSON
-- KEYS[3] own slots  hash: user -> connections; '#' if all of them are in it
-- ARGV[1] node  [2] report  [3] lease, ms  [4] start of the keys of slots (same hash tag)
--      [5] time to live of the keys, ms
--
-- Returns { 1 if the own slots are complete, else 0; now; node, last seen, report; node, ... }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[3]))) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
  redis.call('DEL', ARGV[4] .. node)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[5]) end
local result = { redis.call('HEXISTS', KEYS[3], '#'), now }
local nodes = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #nodes, 2 do
  result[#result + 1] = nodes[i]
  result[#result + 1] = nodes[i + 1]
  result[#result + 1] = redis.call('HGET', KEYS[2], nodes[i]) or ''
end
return result
