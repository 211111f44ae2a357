package report

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"push-server/bench/result"
)

// bar is a value with its range.
type bar struct {
	target string
	spread result.Spread
}

// group is the bars of one measure, side by side.
type group struct {
	label string
	bars  []bar
}

// bars draws groups of bars. Its colours tell the targets, whiskers the range of the repetitions.
func bars(y string, groups []group) (*plot.Plot, error) {
	p := newPlot(y)
	p.Y.Min = 0
	var labels []string
	most := 0
	for _, g := range groups {
		labels = append(labels, g.label)
		most = max(most, len(g.bars))
	}
	if most == 0 {
		return nil, nil
	}
	p.NominalX(labels...)
	p.X.Min, p.X.Max = -0.6, float64(len(groups))-0.4
	step := 0.8 / float64(most) // of the distance between groups
	seen := make(map[string]bool)
	for i, g := range groups {
		for k, b := range g.bars {
			x := float64(i) + (float64(k)-float64(len(g.bars)-1)/2)*step
			if err := addBar(p, x, step*0.9, b); err != nil {
				return nil, err
			}
			if !seen[b.target] {
				seen[b.target] = true
				p.Legend.Add(b.target, swatch{b.target})
			}
			p.Y.Max = max(p.Y.Max, b.spread.Max)
		}
	}
	p.Y.Max *= 1.25 // room for the legend
	return p, nil
}

func addBar(p *plot.Plot, x, width float64, b bar) error {
	v := b.spread.Median
	box, err := plotter.NewPolygon(plotter.XYs{{X: x - width/2}, {X: x - width/2, Y: v}, {X: x + width/2, Y: v}, {X: x + width/2}})
	if err != nil {
		return fmt.Errorf("report: bar: %w", err)
	}
	box.Color = colorOf(b.target)
	box.LineStyle.Width = 0
	p.Add(box)
	if b.spread.Count > 1 {
		whisker, err := plotter.NewLine(plotter.XYs{{X: x, Y: b.spread.Min}, {X: x, Y: b.spread.Max}})
		if err != nil {
			return fmt.Errorf("report: range: %w", err)
		}
		whisker.Width = vg.Points(1)
		p.Add(whisker)
	}
	text, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: x, Y: max(v, b.spread.Max)}}, Labels: []string{result.Number(v)}})
	if err != nil {
		return fmt.Errorf("report: label: %w", err)
	}
	for i := range text.TextStyle {
		text.TextStyle[i].XAlign = draw.XCenter
		text.TextStyle[i].Font.Typeface, text.TextStyle[i].Font.Variant = "Liberation", "Sans"
		text.TextStyle[i].Font.Size = vg.Points(8)
	}
	text.Offset.Y = vg.Points(2)
	p.Add(text)
	return nil
}

// swatch is the colour of a target in the legend.
type swatch struct{ target string }

// Thumbnail implements plot.Thumbnailer.
func (s swatch) Thumbnail(c *draw.Canvas) {
	r := c.Rectangle
	points := []vg.Point{{X: r.Min.X, Y: r.Min.Y}, {X: r.Min.X, Y: r.Max.Y}, {X: r.Max.X, Y: r.Max.Y}, {X: r.Max.X, Y: r.Min.Y}}
	c.FillPolygon(colorOf(s.target), points)
}
