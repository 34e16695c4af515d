-- How many of a user's entries are unread, and unseen.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user; ARGV[7] … channels
-- Returns { id, unread, unseen }
local unread, unseen = count(ARGV[6], scope(7))
return { finish(), unread, unseen }
