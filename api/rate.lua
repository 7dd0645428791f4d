-- Grants requests out of a sliding window of a minute, counted in buckets of a second.
--
-- KEYS[1]  hash: second -> requests granted in it
-- ARGV[1]  how many requests the window holds
-- ARGV[2]  how many wait for an answer
-- ARGV[3]  how many more may be granted in advance, as long as there are plenty
-- ARGV[4]  the second of an earlier grant, and
-- ARGV[5]  how many of it were not used: they go back to where they came from
--
-- Answers: how many are granted, how many the window holds after that, in how many seconds the
-- oldest ones leave it, and this second. A bucket stays until the last instant of it is a minute
-- old, so that no minute, wherever it begins, holds more than the limit.

local WINDOW = 60
local PLENTY = 8 -- one eighth of what is left, so that the last ones are given one by one

local now = tonumber(redis.call('TIME')[1])
if tonumber(ARGV[5]) > 0 and redis.call('HEXISTS', KEYS[1], ARGV[4]) == 1 then
    redis.call('HINCRBY', KEYS[1], ARGV[4], -tonumber(ARGV[5]))
end

local used, oldest = 0, now
local buckets = redis.call('HGETALL', KEYS[1])
for at = 1, #buckets, 2 do
    local second, granted = tonumber(buckets[at]), tonumber(buckets[at + 1])
    if second < now - WINDOW then
        redis.call('HDEL', KEYS[1], buckets[at])
    elseif granted > 0 then
        used = used + granted
        oldest = math.min(oldest, second)
    end
end

local left = math.max(0, tonumber(ARGV[1]) - used)
local advance = math.min(tonumber(ARGV[3]), math.floor(left / PLENTY))
local granted = math.min(left, tonumber(ARGV[2]) + advance)
if granted > 0 then
    redis.call('HINCRBY', KEYS[1], now, granted)
    redis.call('EXPIRE', KEYS[1], WINDOW + 1)
end
return {granted, left - granted, oldest + WINDOW + 1 - now, now}
