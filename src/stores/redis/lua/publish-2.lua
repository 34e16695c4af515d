-- Appends notifications in the order given, each with its idempotency key, its collapse and its
-- event.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] token of this call; ARGV[7] milliseconds that idempotency keys are kept; then for each
-- item:
--   id, to, content, collapse key, createdAt, expiresAt, "1" if ephemeral, idempotency key,
--   fingerprint, producer, number of channels, the channels; what an item does not have is empty
-- Returns { id, for each item: "a" accepted, "r id createdAt" replayed, "k" key reused, "x" expired
-- }
local before = call('GET', P .. 'o:' .. ARGV[6])
if before then return cmsgpack.unpack(before) end

-- Appends a notification to a channel, where it may replace one with the same collapse key.
local function append(note, channel)
  local times, replaces, replaced = 0, '', ''
  if note.key ~= '' then
    sweep(channel)
    local earlier = call('HGET', P .. 'k:' .. channel, note.key)
    if earlier then
      local about = call('HGET', P .. 'l:' .. channel, earlier) or ''
      local id, n = string.match(about, '^(%S+) (%d+)')
      if id then times, replaces, replaced = n + 1, id, earlier end
      retract(channel, earlier)
    end
  end
  local about = note.id .. ' ' .. note.created .. ' ' .. note.expires
  local seq = emit('n', channel, about .. ' ' .. times .. ' ' .. replaces, note.content)
  add_entry(note, channel, seq, times .. ' ' .. replaces .. ' ' .. replaced)
  prune(channel)
end

local out = { '' }
local at = 8
while at <= #ARGV do
  local note = {
    id = ARGV[at], to = ARGV[at + 1], content = ARGV[at + 2], key = ARGV[at + 3],
    created = ARGV[at + 4], expires = ARGV[at + 5], producer = ARGV[at + 9]
  }
  local idem, fingerprint, first = ARGV[at + 7], ARGV[at + 8], at + 11
  local last = first + tonumber(ARGV[at + 10]) - 1
  local used = idem ~= '' and call('GET', P .. 'y:' .. idem)
  if used then
    local print, id, created = string.match(used, '^(%S+) (%S+) (%S+)$')
    out[#out + 1] = print == fingerprint and ('r ' .. id .. ' ' .. created) or 'k'
  elseif note.expires ~= '' and tonumber(note.expires) <= NOW then
    out[#out + 1] = 'x'
  else
    if first <= last then fence() end
    if idem ~= '' then
      local value = fingerprint .. ' ' .. note.id .. ' ' .. note.created
      call('SET', P .. 'y:' .. idem, value, 'PX', ARGV[7])
    end
    if ARGV[at + 6] == '1' then
      local about = note.id .. ' ' .. note.created .. ' ' .. note.expires
      for k = first, last do emit('e', ARGV[k], about, note.content) end
    else
      add_notification(note, last - first + 1, ARGV[first])
      for k = first, last do append(note, ARGV[k]) end
    end
    out[#out + 1] = 'a'
  end
  at = last + 1
end
out[1] = finish()
call('SET', P .. 'o:' .. ARGV[6], cmsgpack.pack(out), 'PX', 15000)
return out
