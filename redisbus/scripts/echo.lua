-- Publishes the number of an echo, the start date and the counter to one process.
--
-- KEYS 1 counter, 2 start date
-- ARGV 1 channel to publish to, 2 number of the echo

local state = redis.call('MGET', KEYS[1], KEYS[2])
return redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. (state[2] or '0') .. ' ' .. (state[1] or '0'))
