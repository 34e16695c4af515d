-- Where a user may find notifications: each one's place in the user's own channel, else its shared channel.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[6] user; ARGV[7] … ids
-- Result: for each id its channel, or empty
local own = 'user:' .. ARGV[6]
local out = {}
for k = 7, #ARGV do
  local found = call('HMGET', P .. 'n:' .. ARGV[k], 'c:' .. own, 'shared')
  out[#out + 1] = found[1] and own or found[2] or ''
end
return out
