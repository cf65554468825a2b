"""Owns the data in the store: the Lua scripts that read and write it. Each script
touches one key, so that it is atomic.

    aims1:{<owner>}   hash    p<page>  made, fresh until, servable until, sealed page
                              l<page>  machine and number of the lease, its ms, its end
    aims1:r:<limit>   string  when this limit's bucket will be full, in microseconds
    aims1:d:<secret>  stream  refused owners, sealed
    aims1:probe               only while `aims-server check` looks at the store

Times are the server's clock in milliseconds (microseconds for limits): the machines'
clocks are never compared. A hash expires with its last page or lease.
"""

from typing import Final

__all__ = [
    "END_LEASE",
    "PROBE",
    "PROBE_KEY",
    "PUT",
    "RAISE_LIMITS",
    "RENEW_LEASE",
    "TAKE",
    "TAKE_TOKEN",
    "VOID",
]

PROBE_KEY: Final = "aims1:probe"

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# The last of ARGV: ms of a lease. It stays for a minute after its end, so that its
# holder may still put a page that took so long, unless another machine has taken the
# lease.
_STAY: Final = """
local stays = ARGV[#ARGV] + 60000
if redis.call('PTTL', KEYS[1]) < stays then
    redis.call('PEXPIRE', KEYS[1], stays)
end
"""

# KEYS[1] the owner's hash; page, wanted age in ms or '', '1' if an old one will do,
# number and ms of the wanted lease. Returns what was found, now, the page, and why a
# lease could not be written. A page made a second or more in the future, and a lease
# that has more left than its length, have another clock: that of a former primary that
# was ahead. Without this check they would keep their places until this clock has caught
# up.
TAKE: Final = (
    _NOW
    + """
local page = redis.call('HGET', KEYS[1], 'p' .. ARGV[1])
if page then
    local made, fresh, servable = page:match('^(%d+) (%d+) (%d+) ')
    if not made or tonumber(made) > now + 1000 or now >= tonumber(servable) then
        page = false
    elseif ARGV[2] == '' or now - made <= tonumber(ARGV[2]) then
        if now < tonumber(fresh) then return {'kept', now, page} end
        if ARGV[3] == '1' then return {'old', now, page} end
    end
end
local lease = redis.call('HGET', KEYS[1], 'l' .. ARGV[1])
local length, ends = (lease or ''):match(' (%d+) (%d+)$')
local left = (tonumber(ends) or 0) - now
if left > 0 and left <= tonumber(length) then
    return {'busy', now, page}
end
lease = ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. string.format('%d', now + ARGV[5])
local kept = redis.pcall('HSET', KEYS[1], 'l' .. ARGV[1], lease)
if type(kept) == 'table' and kept.err then
    return {'refused', now, page, kept.err}
end
"""
    + _STAY
    + """
return {'none', now, page}
"""
)

# KEYS[1] the owner's hash; page, number of the lease, the page with its times, ms for
# which it is servable. 1 if it is kept, 0 if the lease was void.
PUT: Final = """
local lease = redis.call('HGET', KEYS[1], 'l' .. ARGV[1])
if not lease or lease:match('^%S+') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'p' .. ARGV[1], ARGV[3])
redis.call('HDEL', KEYS[1], 'l' .. ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
"""

# KEYS[1] the owner's hash; our machine. Deletes it. 1 if that may concern another
# machine: it had more than leases of ours, which begin with the machine.
VOID: Final = """
local fields = redis.pcall('HGETALL', KEYS[1])
local concerned = fields.err and 1 or 0
for i = 1, #fields, 2 do
    if fields[i + 1]:sub(1, #ARGV[1]) ~= ARGV[1] then concerned = 1 end
end
redis.call('UNLINK', KEYS[1])
return concerned
"""

# KEYS[1] the owner's hash; page, number of the lease.
END_LEASE: Final = """
local lease = redis.call('HGET', KEYS[1], 'l' .. ARGV[1])
if lease and lease:match('^%S+') == ARGV[2] then
    redis.call('HDEL', KEYS[1], 'l' .. ARGV[1])
end
"""

# KEYS[1] the owner's hash; page, number and ms of the lease. 1 if it is still held.
RENEW_LEASE: Final = (
    _NOW
    + """
local lease = redis.call('HGET', KEYS[1], 'l' .. ARGV[1])
if not lease or lease:match('^%S+') ~= ARGV[2] then return 0 end
lease = ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%d', now + ARGV[3])
redis.call('HSET', KEYS[1], 'l' .. ARGV[1], lease)
"""
    + _STAY
    + """
return 1
"""
)

_BUCKET: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function ahead_of(key, full, most)
    local ahead = (tonumber(redis.pcall('GET', key)) or 0) - now
    if ahead > tonumber(most) then ahead = tonumber(full) end
    return math.max(ahead, 0)
end
local function keep(key, ahead)
    redis.call('SET', key, string.format('%.0f', now + ahead),
        'PX', math.ceil(ahead / 1000) + 1)
end
"""

# A stamp further ahead than possible has another clock, as above, and counts as an
# empty bucket. A value that is no stamp counts as none.

# KEYS[1] a limit; microseconds of a token, of the full bucket. Returns how far ahead of
# now the bucket's stamp is after taking a token; beyond the full bucket none was taken.
TAKE_TOKEN: Final = (
    _BUCKET
    + """
local before = ahead_of(KEYS[1], ARGV[2], ARGV[2])
local ahead = before + ARGV[1]
keep(KEYS[1], ahead <= tonumber(ARGV[2]) and ahead or before)
return ahead
"""
)

# KEYS limits; for each, microseconds to charge, of the full bucket, and the most that
# its stamp may be ahead of now. Returns how far ahead each bucket's stamp is then.
RAISE_LIMITS: Final = (
    _BUCKET
    + """
local answers = {}
for i, key in ipairs(KEYS) do
    local charge, full, most = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
    local ahead = ahead_of(key, full, most) + charge
    ahead = math.min(math.max(ahead, 0), tonumber(most))
    keep(key, ahead)
    answers[i] = ahead
end
return answers
"""
)

# KEYS[1] a key of its own, to which this does everything that the other scripts and the
# stream need. If a right is missing it ends half way; what it leaves expires.
PROBE: Final = """
local key = KEYS[1]
redis.call('UNLINK', key)
redis.call('SET', key, redis.call('TIME')[1], 'PX', 1000)
redis.call('GET', key)
redis.call('UNLINK', key)
redis.call('HSET', key, 'f', 'v')
redis.call('PEXPIRE', key, 1000)
redis.call('PTTL', key)
redis.call('HGET', key, 'f')
redis.call('HGETALL', key)
redis.call('HDEL', key, 'f')
redis.call('XADD', key, '*', 'f', 'v')
redis.call('PEXPIRE', key, 1000)
redis.call('UNLINK', key)
"""
