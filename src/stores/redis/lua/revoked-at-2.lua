-- When a user was last revoked.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[6] user
-- Result: the moment, or nil
return call('HGET', P .. 'z:', ARGV[6])
