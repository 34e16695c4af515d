-- Returns the holder of a ticket, and uses the ticket up.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] hash; ARGV[7] "1" to keep it
-- Returns { id, user, topics }, or { id } if it is unknown or expired
local h = P .. 'h:' .. ARGV[6]
local holder = call('HMGET', h, 'user', 'topics', 'expiresAt')
if not holder[1] or tonumber(holder[3]) <= NOW then return { finish() } end
if ARGV[7] ~= '1' then
  call('DEL', h)
  call('SREM', P .. 'v:' .. holder[1], ARGV[6])
end
return { finish(), holder[1], holder[2] }
