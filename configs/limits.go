package configs

import "encoding/json"

// LimitsJSON is the section limits as it counts, in the form in which statistics show it: the four known keys, with defaults, then
// whatever else the file has.
func (c *Config) LimitsJSON() json.RawMessage {
	all := &object{values: map[string]any{}}
	all.set("maxPayload", c.Limits.MaxPayload)
	all.set("maxConnPerChannel", c.Limits.MaxConnPerChannel)
	all.set("maxMessagesPerRequest", c.Limits.MaxMessagesPerRequest)
	all.set("maxChannelsPerRequest", c.Limits.MaxChannelsPerRequest)
	if c.limits != nil {
		for _, key := range c.limits.keys {
			if _, known := all.values[key]; !known {
				all.set(key, c.limits.values[key])
			}
		}
	}
	text, err := all.MarshalJSON()
	if err != nil {
		panic("BUG: limits that came from JSON do not go back: " + err.Error())
	}
	return text
}
