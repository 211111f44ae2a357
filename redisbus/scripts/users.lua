-- Notes that users are connected to a process, or are no longer, and returns those who were connected to none before, or are to none now.
--
-- KEYS 1 hash of users: to which processes each is connected, " process  process "
-- ARGV 1 'enter' or 'leave', 2 process, 3… users

local entering, process = ARGV[1] == 'enter', ' ' .. ARGV[2] .. ' '
local changed = {}
for i = 3, #ARGV do
	local user = ARGV[i]
	local processes = redis.call('HGET', KEYS[1], user) or ''
	local at = string.find(processes, process, 1, true)
	if entering and not at then
		redis.call('HSET', KEYS[1], user, processes .. process)
		if processes == '' then
			changed[#changed + 1] = user
		end
	elseif at and not entering then
		local rest = string.sub(processes, 1, at - 1) .. string.sub(processes, at + #process)
		if rest == '' then
			redis.call('HDEL', KEYS[1], user)
			changed[#changed + 1] = user
		else
			redis.call('HSET', KEYS[1], user, rest)
		end
	end
end
return changed
