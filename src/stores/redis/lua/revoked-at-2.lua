-- When a user was last revoked.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user
-- Returns the time, or nil
return call('HGET', P .. 'z:', ARGV[6])
