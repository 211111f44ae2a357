-- Stores one publication and publishes it, once, however often it is sent.
--
-- KEYS 1 counter, 2 start date, 3 sequence of the process, 4 what names of messages begin with, from 5 on the history of each receiver
-- ARGV 1 sequence number, 2 greatest acknowledged one, 3 seconds to remember the sequence
--      4 present time, 5 and 6 start date and counter of the highest known id (0: none), 7 margin
--      8 expiry in seconds (0: not stored), 9 seconds to keep the history of a channel, 10 length of history to trim to (0: not now)
--      11 channel to publish to, 12 and 13 what stands before and after the id in the envelope
--
-- Returns the id; of an id with the start date of the highest known one only the counter; 0 if the publication was stored before;
-- -1 if one before it is missing. If histories are of another type, which must not keep the others from their publication, it returns an array:
-- the same, and which of the receivers they are of, from 1 on.

local function answer(id, unkept)
	if #unkept == 0 then
		return id
	end
	return {id, unpack(unkept)}
end

-- Which histories take no member: this adds none.
local function foreign()
	local found = {}
	for i = 5, #KEYS do
		local added = redis.pcall('ZADD', KEYS[i], 'XX', 0, '')
		if type(added) ~= 'number' and string.find(added.err, 'WRONGTYPE', 1, true) then
			found[#found + 1] = i - 4
		end
	end
	return found
end

local sequence, acknowledged = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('MGET', KEYS[3], KEYS[2])
local last = tonumber(state[1] or 0)
if sequence <= last then
	return answer(0, foreign())
end
if sequence ~= math.max(last, acknowledged) + 1 then
	return -1
end

-- The first write: out of memory, read-only and the like fail here, before anything is done.
local counter = redis.call('INCR', KEYS[1])
local startdate = tonumber(state[2] or 0)
local knownStartdate, knownCounter = tonumber(ARGV[5]), tonumber(ARGV[6])
if startdate < knownStartdate or (startdate == knownStartdate and counter <= knownCounter) then
	-- Redis has lost data: ids go on above the known ones, under the start date that other processes remember.
	startdate, counter = knownStartdate, knownCounter + tonumber(ARGV[7])
	redis.call('SET', KEYS[1], string.format('%.0f', counter))
	redis.call('SET', KEYS[2], string.format('%.0f', startdate))
elseif startdate == 0 then
	startdate = tonumber(ARGV[4])
	redis.call('SET', KEYS[2], ARGV[4])
end

-- 26 decimal digits, one per nibble.
local digits = string.format('%010.0f%016.0f', startdate, counter)
local id = struct.pack('>BI4I4I4', tonumber(string.sub(digits, 1, 2), 16), tonumber(string.sub(digits, 3, 10), 16),
	tonumber(string.sub(digits, 11, 18), 16), tonumber(string.sub(digits, 19, 26), 16))

local unkept = {}

local function store()
	if ARGV[8] ~= '0' then
		redis.call('SETEX', KEYS[4] .. id, ARGV[8], '\10\13' .. id .. ARGV[13])
		for i = 5, #KEYS do
			local added = redis.pcall('ZADD', KEYS[i], 0, id)
			if type(added) == 'number' then
				redis.call('EXPIRE', KEYS[i], ARGV[9])
				if ARGV[10] ~= '0' then
					redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -1 - ARGV[10])
				end
			elseif string.find(added.err, 'WRONGTYPE', 1, true) then
				unkept[#unkept + 1] = i - 4
			else
				error(added)
			end
		end
	end
	redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[3])
	-- Last: it is the one thing that cannot be taken back.
	redis.call('PUBLISH', ARGV[11], ARGV[12] .. id .. ARGV[13])
end

-- Scripts are not rolled back. Where a user may do one thing and not another, what was stored before would be stored once more with each
-- attempt.
local stored, failure = pcall(store)
if not stored then
	redis.pcall('SET', KEYS[3], sequence - 1, 'EX', ARGV[3])
	-- History leaves out an entry without a message, so the message is what has to go: the user may not do all of this, but has just
	-- written it with the last.
	local key = KEYS[4] .. id
	for _, removal in ipairs({{'DEL', key}, {'EXPIRE', key, 0}, {'SETEX', key, 1, ''}}) do
		local done = redis.pcall(unpack(removal))
		if type(done) ~= 'table' or not done.err then
			break
		end
	end
	for i = 5, #KEYS do
		redis.pcall('ZREM', KEYS[i], id)
	end
	if type(failure) == 'string' then -- before Redis 7
		failure = {err = failure}
	end
	return failure
end

if startdate == knownStartdate then
	return answer(counter, unkept)
end
return answer(id, unkept)
