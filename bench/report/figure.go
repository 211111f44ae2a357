// Package report turns results into something to look at: an HTML page that needs nothing else, PNG copies of its plots, and the
// table of targets for the README.
package report

import (
	"bytes"
	"fmt"
	"image/color"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"push-server/bench/result"
)

const (
	width, height = 16 * vg.Centimeter, 9 * vg.Centimeter
	dpi           = 144
)

// figure is a plot with the words around it.
type figure struct {
	name    string // of its PNG
	title   string
	caption string
	plot    *plot.Plot
}

func newPlot(y string) *plot.Plot {
	p := plot.New()
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	for _, s := range []*draw.TextStyle{&p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		s.Font.Typeface, s.Font.Variant = sans.Typeface, sans.Variant
		s.Font.Size = vg.Points(10)
	}
	p.Y.Label.Text = y
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = vg.Points(2)
	p.X.Padding, p.Y.Padding = 0, 0
	p.Y.Tick.Marker = numbers{}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{0xe4}
	p.Add(grid)
	return p
}

// numbers are the usual marks, with commas between thousands and none without words.
type numbers struct{}

// Ticks implements plot.Ticker.
func (numbers) Ticks(low, high float64) (ticks []plot.Tick) {
	for _, t := range (plot.DefaultTicks{}).Ticks(low, high) {
		if t.Label != "" {
			t.Label = strings.TrimSuffix(result.Number(t.Value), ".00")
			ticks = append(ticks, t)
		}
	}
	return ticks
}

var (
	svgHead  = regexp.MustCompile(`(?s)^.*?<svg`)
	svgSize  = regexp.MustCompile(`<svg width="[^"]*" height="[^"]*"`)
	svgFonts = regexp.MustCompile(`font-family:[^;"]*`)
)

// svg draws the figure for use inside HTML.
func (f *figure) svg() (string, error) {
	c := vgsvg.New(width, height)
	f.plot.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", fmt.Errorf("report: %s: %w", f.name, err)
	}
	s := svgHead.ReplaceAllString(b.String(), "<svg")
	s = svgSize.ReplaceAllString(s, "<svg")
	return svgFonts.ReplaceAllString(s, "font-family:Liberation Sans,Arial,Helvetica,sans-serif"), nil
}

// png draws the figure as a picture.
func (f *figure) png() ([]byte, error) {
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	f.plot.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(&b); err != nil {
		return nil, fmt.Errorf("report: %s: %w", f.name, err)
	}
	return b.Bytes(), nil
}

// palette gives each target its colour, the same in all figures.
var palette = map[string]color.RGBA{
	"push-server":        {0x1f, 0x6f, 0xeb, 0xff},
	"push-server-memory": {0x79, 0xb8, 0xff, 0xff},
	"node":               {0x3c, 0x87, 0x3a, 0xff},
	"nchan":              {0xe3, 0x9a, 0x1c, 0xff},
	"nchan-redis":        {0xc4, 0x4f, 0x1d, 0xff},
	"centrifugo":         {0xb0, 0x6b, 0x9c, 0xff},
	"centrifugo-redis":   {0x7d, 0x3c, 0x6a, 0xff},
	"external":           {0x8a, 0x4f, 0xb8, 0xff},
	floorName:            {0x8b, 0x94, 0x9e, 0xff},
}

// floorName is what the raw write(2) loop is called in figures.
const floorName = "raw write(2)"

func colorOf(target string) color.RGBA {
	if c, ok := palette[target]; ok {
		return c
	}
	return color.RGBA{0x57, 0x60, 0x6a, 0xff}
}

// order sorts targets as the palette is meant to be read: ours first.
func order(targets []string) []string {
	rank := []string{"push-server", "push-server-memory", "external", "node", "nchan", "nchan-redis", "centrifugo", "centrifugo-redis", floorName}
	slices.SortStableFunc(targets, func(a, b string) int { return slices.Index(rank, a) - slices.Index(rank, b) })
	return targets
}
