package why

import "time"

// overview is the part of /overview that is looked at.
type overview struct {
	Process      string             `json:"process"`
	Started      time.Time          `json:"started"`
	Ready        bool               `json:"ready"`
	Problem      string             `json:"problem"`
	PublishQueue int                `json:"publishQueue"`
	Counters     map[string]float64 `json:"counters"`
}
