-- Reserves one more connection for a user, if the user has few enough on all live nodes together.
-- In one step, so that only one of two nodes that ask at once gets the last one.
--
-- KEYS[1] nodes      sorted set: node -> when it was last seen, milliseconds by the clock of Redis
-- KEYS[2] own slots  hash: user -> connections
-- ARGV[1] node  [2] user  [3] connections of the user on this node, with the new one
--      [4] most on all nodes  [5] lease, ms  [6] start of the keys of slots (same hash tag)
--      [7] time to live of the keys, ms
--
-- Returns 1 if the connection was reserved; else 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sum = tonumber(ARGV[3])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[5], '+inf')) do
  if node ~= ARGV[1] then sum = sum + (redis.call('HGET', ARGV[6] .. node, ARGV[2]) or 0) end
end
if sum > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return 1
