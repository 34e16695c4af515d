-- A notification, for its producer or an operator.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] id; ARGV[7] "1" to include its entries and readers
-- Returns { } if there is none; else
-- { to, content, createdAt, expiresAt, producer, seen, read, archived, channel, seq … }
local all = call('HGETALL', P .. 'n:' .. ARGV[6])
local note, entries = {}, {}
for k = 1, #all, 2 do
  local channel = string.match(all[k], '^c:(.+)$')
  if channel then entries[#entries + 1] = { channel, all[k + 1] } else note[all[k]] = all[k + 1] end
end
if #entries == 0 or (note.expiresAt and tonumber(note.expiresAt) <= NOW) then return {} end
table.sort(entries, function(a, b) return tonumber(a[2]) < tonumber(b[2]) end)
local seen, read, archived = 0, 0, 0
local out = { note.to, note.content, note.createdAt, note.expiresAt or '', note.producer, 0, 0, 0 }
if ARGV[7] == '1' then
  for _, one in ipairs(entries) do
    local channel, seq = one[1], one[2]
    out[#out + 1], out[#out + 2] = channel, seq
    if personal(channel) then
      local mark = call('HGET', P .. 'm:' .. string.sub(channel, 6) .. ' ' .. channel, seq)
      if mark then
        seen = seen + 1
        if string.sub(mark, 1, 2) ~= '- ' then read = read + 1 end
        if string.sub(mark, -1) == '1' then archived = archived + 1 end
      end
    else
      local r = call('HMGET', P .. 'r:' .. channel, seq .. 's', seq .. 'r', seq .. 'a')
      seen, read, archived = seen + (r[1] or 0), read + (r[2] or 0), archived + (r[3] or 0)
    end
  end
end
out[6], out[7], out[8] = seen, read, archived
return out
