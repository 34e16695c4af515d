-- Removes a user's own entries and state events, all marks and all tickets, a slice at a time.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user
-- Returns { id }, or { id, 1 } if more is left: the event comes with the last slice
local user = ARGV[6]
local own = 'user:' .. user
-- First, so that the seq of the event is behind a fence that this call may write.
fence()
-- A cursor from before can no longer be resumed, and its client loads the inbox again. A cursor at
-- the last event, which may be one seq below the head, has received everything.
raise_floor(own, str(head - 1))
local room = SLICE
for _, channel in ipairs(call('SMEMBERS', P .. 'u:' .. user)) do
  local m = marks_of(user, channel)
  if not personal(channel) then
    local r, all = P .. 'r:' .. channel, call('HGETALL', m)
    for k = 1, #all, 2 do
      local read, archived = string.match(all[k + 1], '^(%S+) (%d)$')
      if read and all[k] ~= '@' and all[k] ~= '#' then
        call('HINCRBY', r, all[k] .. 's', -1)
        if read ~= '-' then call('HINCRBY', r, all[k] .. 'r', -1) end
        if archived == '1' then call('HINCRBY', r, all[k] .. 'a', -1) end
        room = room - 1
      end
    end
  end
  call('DEL', m)
  call('SREM', P .. 'u:' .. user, channel)
  if room <= 0 then return { finish(), 1 } end
end
local entries = call('ZRANGE', P .. 'e:' .. own, 0, SLICE - 1)
for _, seq in ipairs(entries) do remove(own, seq) end
if #entries == SLICE then return { finish(), 1 } end
call('DEL', P .. 't:' .. own)
for _, hash in ipairs(call('SMEMBERS', P .. 'v:' .. user)) do call('DEL', P .. 'h:' .. hash) end
call('DEL', P .. 'v:' .. user)
append_state(own, 'removed', str(head), '*')
return { finish() }
