package configs

import (
	"encoding/json"
	"time"
)

// modes decides what kind of process the file asks for.
func (d *decoder) modes(root *object) {
	c := d.config
	if !c.PublishMode && c.ClusterMode && truthy(root.values["publishMode"]) {
		c.PublishMode = true
		d.warn("publishMode", "write true", "is not true, but together with clusterMode it counts as true")
	}
	c.ClusterMode = c.ClusterMode || c.PublishMode
	c.cloudMode = d.cloud(root)
}

// cloud follows the Node server: a boolean trustClients goes before cloudMode, and only a boolean counts.
func (d *decoder) cloud(root *object) bool {
	if trust, ok := root.values["trustClients"].(bool); ok {
		return !trust
	}
	cloud, _ := root.values["cloudMode"].(bool)
	for _, key := range []string{"trustClients", "cloudMode"} {
		if v := root.values[key]; truthy(v) && v != true {
			d.warn(key, "remove it", "is not a boolean and has no effect")
		}
	}
	return cloud
}

// truthy is what JavaScript takes for true.
func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	}
	return true
}

// repair gives values that work to keys whose value could not.
func (d *decoder) repair() {
	c := d.config
	if _, ok := c.given["storage.onlineTTL"]; ok && c.Storage.OnlineTTL == 0 {
		c.Storage.OnlineTTL = 2 * time.Minute
		d.warn("storage.onlineTTL", "", "0 counts as 120")
	}
	if c.Storage.OnlineDelta == 0 {
		c.Storage.OnlineDelta = 30 * time.Second
		d.warn("storage.onlineDelta", "", "0 counts as 30")
	}
	if c.Limits.MaxConnPerChannel < 1 {
		d.warn("limits.maxConnPerChannel", "", "%d counts as 1: a new connection must find room", c.Limits.MaxConnPerChannel)
		c.Limits.MaxConnPerChannel = 1
	}
	d.follow("push.windowBytes", &c.Push.WindowBytes)
	d.follow("push.maxBuffered", &c.Push.MaxBuffered)
	d.follow("push.memoryBytes", &c.Push.MemoryBytes)
	for i := range c.Servers {
		d.address(i, &c.Servers[i])
	}
}

// follow raises a default of push, which a file of the Node server does not have, to a payload that the file allows.
func (d *decoder) follow(key string, bytes *int) {
	if !d.config.given[key] {
		*bytes = max(*bytes, min(d.config.Limits.MaxPayload, maxBytes))
	}
}
