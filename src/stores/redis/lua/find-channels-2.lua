-- For each notification, the channel in which a user may find it: the user's own, or its shared
-- one.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user; ARGV[7] … ids of notifications
-- Returns for each id the channel, or empty
local own = 'user:' .. ARGV[6]
local out = {}
for k = 7, #ARGV do
  local found = call('HMGET', P .. 'n:' .. ARGV[k], 'c:' .. own, 'shared')
  out[#out + 1] = found[1] and own or found[2] or ''
end
return out
