"""The Lua scripts of sessions. Keys: head (a hash), messages (a list), keys (a sorted set of appends)."""

from __future__ import annotations

# The head's fields: `first` and `next` number the stored messages over the session's whole life, `characters` is their
# size, `summary` stands for those before `first`; times are milliseconds of the server.
_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
_KEEP = """
local function ms(value) return string.format('%.0f', value) end
local function keep(ttl)
  redis.call('HSET', KEYS[1], 'updated_at', ms(now), 'expires_at', ms(now + ttl))
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ms(ttl)) end
end
"""

APPEND = (
    _NOW
    + _KEEP
    + """
local name, ttl, most, characters, keys = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if redis.call('ZSCORE', KEYS[3], name) then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'first', 0, 'next', 0, 'characters', 0, 'created_at', ms(now))
end
local size = 0
for i = 6, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
  size = size + cjson.decode(ARGV[i])['size']
end
local held = redis.call('HINCRBY', KEYS[1], 'characters', ms(size))
local last = redis.call('HINCRBY', KEYS[1], 'next', #ARGV - 5)
redis.call('ZADD', KEYS[3], ms(last), name)
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - keys)
while redis.call('LLEN', KEYS[2]) > 1 and (held > characters or redis.call('LLEN', KEYS[2]) > most) do
  local gone = cjson.decode(redis.call('LPOP', KEYS[2]))['size']
  held = redis.call('HINCRBY', KEYS[1], 'characters', ms(-gone))
  redis.call('HINCRBY', KEYS[1], 'first', 1)
end
keep(ttl)
return 1
"""
)

# Reads more where the entries of one append are to be left out: they are the newest, or nearly.
READ = """
local fields = redis.call('HGETALL', KEYS[1])
if #fields == 0 then return {{}, {}} end
local most = tonumber(ARGV[1])
if ARGV[2] ~= '' and redis.call('ZSCORE', KEYS[3], ARGV[2]) then most = 0 end
return {fields, redis.call('LRANGE', KEYS[2], -most, -1)}
"""

SUMMARISE = (
    _NOW
    + _KEEP
    + """
local first, through = tonumber(ARGV[1]), tonumber(ARGV[2])
if tonumber(redis.call('HGET', KEYS[1], 'first') or '-1') ~= first then return 0 end
if through <= first or through > tonumber(redis.call('HGET', KEYS[1], 'next')) then return 0 end
local gone = 0
for _ = first, through - 1 do gone = gone + cjson.decode(redis.call('LPOP', KEYS[2]))['size'] end
redis.call('HINCRBY', KEYS[1], 'characters', ms(-gone))
redis.call('HSET', KEYS[1], 'first', ms(through), 'summary', ARGV[3])
keep(tonumber(ARGV[4]))
return 1
"""
)

DELETE = "return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])"
