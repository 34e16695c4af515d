-- Deletes a user's tickets, remembers the time, and reports it to every node.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user
-- Returns { id }
fence()
local v = P .. 'v:' .. ARGV[6]
for _, hash in ipairs(call('SMEMBERS', v)) do call('DEL', P .. 'h:' .. hash) end
call('DEL', v)
call('HSET', P .. 'z:', ARGV[6], str(NOW))
emit('r', ARGV[6], '', '')
return { finish() }
