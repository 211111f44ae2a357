package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"push-server/bench/result"
)

// line is a series of points; its colour is that of a target.
type line struct {
	label, target string
	points        []result.Point
	dashed        bool
}

func addLine(p *plot.Plot, l line, marks bool) error {
	var xys plotter.XYs
	for _, pt := range l.points {
		xys = append(xys, plotter.XY{X: pt.X, Y: pt.Y})
	}
	drawn, points, err := plotter.NewLinePoints(xys)
	if err != nil {
		return fmt.Errorf("report: line %s: %w", l.label, err)
	}
	drawn.Color, points.Color = colorOf(l.target), colorOf(l.target)
	drawn.Width = vg.Points(1.6)
	points.Shape, points.Radius = draw.CircleGlyph{}, vg.Points(2.2)
	if l.dashed {
		drawn.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	p.Add(drawn)
	if marks {
		p.Add(points)
	}
	p.Legend.Add(l.label, drawn)
	return nil
}

// overN draws values over the number of connections, from 0.
func overN(y string, lines []line) (*plot.Plot, error) {
	p := newPlot(y)
	p.X.Label.Text = "connections"
	for _, l := range lines {
		if err := addLine(p, l, true); err != nil {
			return nil, err
		}
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max *= 1.25
	return p, nil
}

// overTime draws values over seconds.
func overTime(y string, lines []line) (*plot.Plot, error) {
	p := newPlot(y)
	p.X.Label.Text = "seconds"
	for _, l := range lines {
		if err := addLine(p, l, false); err != nil {
			return nil, err
		}
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max *= 1.25
	return p, nil
}

// percentiles draws latency over the share of messages, with as much room for 99 to 99.9 % as for 90 to 99 %.
func percentiles(lines []line) (*plot.Plot, error) {
	p := newPlot("milliseconds")
	p.X.Label.Text = "share of messages"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	p.X.Tick.Marker = nines
	low, high := math.Inf(1), 0.0
	for _, l := range lines {
		var points []result.Point
		for _, pt := range l.points {
			if pt.X >= 100 {
				continue // the maximum is at infinity
			}
			points = append(points, result.Point{X: -math.Log10(1 - pt.X/100), Y: max(pt.Y, 0.001)})
			low, high = min(low, points[len(points)-1].Y), max(high, pt.Y)
		}
		l.points = points
		if err := addLine(p, l, true); err != nil {
			return nil, err
		}
	}
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(low)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(high)))
	p.X.Min = 0
	p.X.Max += 0.3 // room for the last word
	return p, nil
}

var nines = func() (t plot.ConstantTicks) {
	for _, share := range []string{"50", "90", "99", "99.9", "99.99", "99.999"} {
		var v float64
		fmt.Sscan(share, &v)
		t = append(t, plot.Tick{Value: -math.Log10(1 - v/100), Label: share + " %"})
	}
	return t
}()

// decades marks powers of ten, and nothing in between with words.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	for d := math.Floor(math.Log10(low)); d <= math.Ceil(math.Log10(high)); d++ {
		v := math.Pow(10, d)
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprint(v)})
		for k := 2.0; k < 10; k++ {
			ticks = append(ticks, plot.Tick{Value: k * v})
		}
	}
	return ticks
}
