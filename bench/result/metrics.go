package result

// Metric explains a name in Run.Metrics.
type Metric struct {
	Name  string
	Title string
	Unit  string
	More  bool // more is better
}

// Noise is the metric of the machine rather than of the server.
const Noise = "noisePercent"

// Metrics are all metrics, in the order of reports. CPU is that of the server's processes alone unless the title says otherwise.
var Metrics = []Metric{
	{"bytesPerConnection", "memory per connection, after GC", "B", false},
	{"bytesPerConnectionLive", "memory per connection, before GC", "B", false},
	{"heapPerConnection", "Go heap per connection, after GC", "B", false},
	{"emptyMegabytes", "memory without connections", "MB", false},
	{"idleCpuPercent", "idle connections: CPU of one core, with pings of version 5", "%", false},
	{"reachSeconds", "one message to every connection", "s", false},
	{"connectsPerSecond", "connects", "/s", true},
	{"cpuPerConnect", "CPU per connect", "µs", false},
	{"deliveriesPerSecond", "fan-out, closed loop", "/s", true},
	{"cpuPerMillion", "fan-out: CPU per million deliveries", "s", false},
	{"userPerMillion", "fan-out: user CPU per million deliveries", "s", false},
	{"floorDeliveriesPerSecond", "raw write(2) loop on equal sockets", "/s", true},
	{"floorCpuPerMillion", "raw write(2) loop: CPU per million", "s", false},
	{"rateOfFloor", "fan-out rate against the raw write(2) loop", "%", true},
	{"cpuOfFloor", "fan-out CPU against the raw write(2) loop", "%", false},
	{"messagesPerRead", "messages per read of the client", "", true},
	{"burstDeliveriesPerSecond", "fan-out in bursts of ten", "/s", true},
	{"burstCpuPerMillion", "bursts: CPU per million deliveries", "s", false},
	{"steadyP50", "steady traffic to all: p50", "ms", false},
	{"steadyP99", "steady traffic to all: p99", "ms", false},
	{"publishesPerSecond", "publications to unique channels, closed loop", "/s", true},
	{"cpuPerPublish", "CPU per publication, with Redis", "µs", false},
	{"serverCpuPerPublish", "CPU per publication", "µs", false},
	{"redisCpuPerPublish", "Redis: CPU per publication", "µs", false},
	{"openP50", "publication to delivery at the given rate: p50", "ms", false},
	{"openP99", "publication to delivery at the given rate: p99", "ms", false},
	{"openP999", "publication to delivery at the given rate: p99.9", "ms", false},
	{"cpuPerAnswer", "CPU per poll answered, with Redis", "µs", false},
	{"serverCpuPerAnswer", "CPU per poll answered", "µs", false},
	{"redisCpuPerAnswer", "Redis: CPU per poll answered", "µs", false},
	{"answersPerSecond", "long polls answered, closed loop", "/s", true},
	{"cpuPerAnswerBusy", "closed loop: CPU per poll answered, with Redis", "µs", false},
	{"pollP50", "long poll at the given rate: p50", "ms", false},
	{"pollP99", "long poll at the given rate: p99", "ms", false},
	{"fewPublish", "few channels: CPU per publication, with Redis", "µs", false},
	{"manyPublish", "50,000 channels: CPU per publication, with Redis", "µs", false},
	{"publishGrowth", "CPU per publication with 50,000 channels against few", "%", false},
	{"fewPerMillion", "few channels: CPU per million deliveries", "s", false},
	{"manyPerMillion", "50,000 channels: CPU per million deliveries", "s", false},
	{"deliveryGrowth", "CPU per delivery with 50,000 channels against few", "%", false},
	{"cpuPerMissed", "CPU per message that a returning client gets", "µs", false},
	{"userPerMissed", "the same in user mode", "µs", false},
	{"replaySeconds", "until all that returned have what they missed", "s", false},
	{"cpuPerReturn", "CPU per returning client, with Redis", "µs", false},
	{"redisReadsPerReturn", "Redis: reads of history per returning client", "", false},
	{"mixedP50", "mixed load, to one or few: p50", "ms", false},
	{"mixedP99", "mixed load, to one or few: p99", "ms", false},
	{"mixedBroadcastP99", "mixed load, to everybody: p99", "ms", false},
	{"mixedDeliveriesPerSecond", "mixed load: deliveries", "/s", true},
	{"cpuPercent", "CPU of one core", "%", false},
	{"redisCpuPercent", "Redis: CPU of one core", "%", false},
	{"upgrades", "upgrades in a row", "", true},
	{"upgradePause", "longest time in which an upgrade has nobody served", "ms", false},
	{"upgradeP99", "delivery while a process takes over: p99", "ms", false},
	{"upgradeMax", "the same: maximum", "ms", false},
	{"betweenP99", "delivery between two upgrades: p99", "ms", false},
	{"upgradeRetries", "upgrades: attempts to connect that failed", "", false},
	{"upgradeMegabytesFirst", "memory after the first upgrade", "MB", false},
	{"upgradeMegabytesLast", "memory after the last upgrade", "MB", false},
	{"upgradeDescriptorsFirst", "descriptors after the first upgrade", "", false},
	{"upgradeDescriptorsLast", "descriptors after the last upgrade", "", false},
	{"memoryDrift", "soak: memory at the end against after warm-up", "%", false},
	{"descriptorsLeft", "soak: descriptors more than at the start", "", false},
	{"allocsPerDelivery", "allocations per delivery", "", false},
	{"allocsPerPublish", "allocations per publication", "", false},
	{Noise, "CPU of one core that others used meanwhile", "%", false},
	{"collections", "garbage collections during the measurement", "", false},
}

// Find finds a metric by name.
func Find(name string) (Metric, bool) {
	for _, m := range Metrics {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{Name: name, Title: name}, false
}
