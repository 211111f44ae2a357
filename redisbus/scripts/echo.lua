-- Publishes the number of an echo, the start date and the counter to one process. Where Redis has lost data, so that its counter is
-- behind an id that the process knows, the counter goes on above that first: ids never go back.
--
-- KEYS 1 counter, 2 start date
-- ARGV 1 channel to publish to, 2 number of the echo, 3 and 4 start date and counter of the highest known id (0: none), 5 margin

local state = redis.call('MGET', KEYS[1], KEYS[2])
local counter, startdate = tonumber(state[1]) or 0, tonumber(state[2]) or 0
local knownStartdate, knownCounter = tonumber(ARGV[3]), tonumber(ARGV[4])
if startdate < knownStartdate or (startdate == knownStartdate and counter < knownCounter) then
	local raised = string.format('%.0f', knownCounter + tonumber(ARGV[5]))
	-- A Redis that takes no writes now will be asked again.
	local set = redis.pcall('MSET', KEYS[1], raised, KEYS[2], ARGV[3])
	if not set.err then
		counter, startdate = tonumber(raised), knownStartdate
	end
end
return redis.call('PUBLISH', ARGV[1], string.format('%s %.0f %.0f', ARGV[2], startdate, counter))
