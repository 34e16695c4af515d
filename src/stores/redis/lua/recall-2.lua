-- Removes a notification from every channel, with one state event each.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] id
-- Returns { id, 1 if it existed, else 0 }
local note = P .. 'n:' .. ARGV[6]
local all = call('HGETALL', note)
local entries, expires = {}, nil
for k = 1, #all, 2 do
  local channel = string.match(all[k], '^c:(.+)$')
  if channel then entries[#entries + 1] = { channel, all[k + 1] }
  elseif all[k] == 'expiresAt' then expires = tonumber(all[k + 1]) end
end
if #entries == 0 or (expires and expires <= NOW) then return { finish(), 0 } end
table.sort(entries, function(a, b) return tonumber(a[2]) < tonumber(b[2]) end)
for _, one in ipairs(entries) do
  retract(one[1], one[2])
  append_state(one[1], 'removed', '-', ARGV[6])
end
return { finish(), 1 }
