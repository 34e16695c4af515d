-- Stores a ticket.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] hash; ARGV[7] user; ARGV[8] topics; ARGV[9] expiry
-- Returns { id }
local h, v = P .. 'h:' .. ARGV[6], P .. 'v:' .. ARGV[7]
call('HSET', h, 'user', ARGV[7], 'topics', ARGV[8], 'expiresAt', ARGV[9])
call('PEXPIREAT', h, ARGV[9])
local last = call('PTTL', v)
call('SADD', v, ARGV[6])
call('PEXPIREAT', v, str(math.max(tonumber(ARGV[9]), NOW + last)))
return { finish() }
