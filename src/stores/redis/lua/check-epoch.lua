-- Runs before every script but open: refuses to touch a log that is not the one the caller knows.
if state[1] ~= ARGV[1] then return redis.error_reply('EPOCH the log has another epoch') end
