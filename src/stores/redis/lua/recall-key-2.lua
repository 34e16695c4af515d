-- Removes the live entry with a collapse key from one channel, with a state event.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] channel; ARGV[7] key
-- Returns { id, 1 if there was one, else 0 }
local channel = ARGV[6]
local seq = call('HGET', P .. 'k:' .. channel, ARGV[7])
local about = seq and call('HGET', P .. 'l:' .. channel, seq)
-- Redis may have evicted what belongs to the key.
local id = about and string.match(about, '^%S+')
if not id then return { finish(), 0 } end
local expires = call('HGET', P .. 'n:' .. id, 'expiresAt')
if expires and tonumber(expires) <= NOW then return { finish(), 0 } end
retract(channel, seq)
append_state(channel, 'removed', '-', id)
return { finish(), 1 }
