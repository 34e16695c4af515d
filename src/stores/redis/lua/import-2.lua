-- Fills a log that nobody follows from an archive, without events.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] … records, one after the other:
--   n, id, to, content, collapse key, createdAt, expiresAt, producer, number of entries, then for
--      each of them: channel, times, replaces; what a record does not have is empty
--   m, user, id, "readAt archived"
--   y, key, "fingerprint id createdAt", milliseconds that it is still kept
--   z, user, time of the revocation
-- Returns { id }, or { id, index of the record that is refused, why }: the records before it are
-- taken
local at, record = 6, 0
local function fault(why)
  appended = true
  return { finish(), record, why }
end

-- Each kind reads its record at ARGV[at] and moves `at` to the next. Returns why it is refused, if
-- it is.
local kinds = {}

function kinds.n()
  local note = {
    id = ARGV[at + 1], to = ARGV[at + 2], content = ARGV[at + 3], key = ARGV[at + 4],
    created = ARGV[at + 5], expires = ARGV[at + 6], producer = ARGV[at + 7]
  }
  local entries, first = tonumber(ARGV[at + 8]), at + 9
  if call('EXISTS', P .. 'n:' .. note.id) == 1 then
    return 'the notification ' .. note.id .. ' is in an earlier line already'
  end
  add_notification(note, entries, ARGV[first])
  for k = first, first + 3 * (entries - 1), 3 do
    local channel, times, replaces = ARGV[k], ARGV[k + 1], ARGV[k + 2]
    if note.key ~= '' and call('HEXISTS', P .. 'k:' .. channel, note.key) == 1 then
      return 'an earlier line already has the key ' .. note.key .. ' in ' .. channel
    end
    head, sub = head + 1, 0
    local seq = str(head)
    -- What it replaced was in another log, and no cursor comes from there: its own seq serves as
    -- well.
    add_entry(note, channel, seq, times .. ' ' .. replaces .. ' ' .. (replaces ~= '' and seq or ''))
  end
  at = first + 3 * entries
end

function kinds.m()
  local user, id, mark = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local note = P .. 'n:' .. id
  if call('EXISTS', note) == 0 then return 'no earlier line has the notification ' .. id end
  local channel = call('HGET', note, 'shared') or ('user:' .. user)
  local seq = call('HGET', note, 'c:' .. channel)
  if not seq then return 'the notification ' .. id .. ' is not for the user ' .. user end
  local m = P .. 'm:' .. user .. ' ' .. channel
  -- No removal has the number -1: the first read counts the marks.
  call('HSET', m, seq, mark, '@', '-1', '#', '0')
  if ARGV[3] ~= '0' then call('PEXPIRE', m, ARGV[3]) end
  call('SADD', P .. 'u:' .. user, channel)
  if not personal(channel) then
    local r = P .. 'r:' .. channel
    call('HINCRBY', r, seq .. 's', 1)
    if string.sub(mark, 1, 2) ~= '- ' then call('HINCRBY', r, seq .. 'r', 1) end
    if string.sub(mark, -1) == '1' then call('HINCRBY', r, seq .. 'a', 1) end
  end
  at = at + 4
end

function kinds.y()
  call('SET', P .. 'y:' .. ARGV[at + 1], ARGV[at + 2], 'PX', ARGV[at + 3])
  at = at + 4
end

function kinds.z()
  call('HSET', P .. 'z:', ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end

while at <= #ARGV do
  local why = kinds[ARGV[at]]()
  if why then return fault(why) end
  record = record + 1
end
appended = true
return { finish() }
