package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"strings"

	"push-server/bench/result"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"number": result.Number}).Parse(pageText))

// drawn is a figure for the page.
type drawn struct {
	Name, Title, Caption string
	SVG                  template.HTML
}

// cell is a metric of one target.
type cell struct{ Metric, Unit, Value string }

// block is all metrics of a key.
type block struct {
	Scenario, Target string
	N, Runs          int
	Cells            []cell
}

// Write writes base.html, which needs no other file, and base-<figure>.png for each figure.
func Write(f *result.File, base string) error {
	figs, err := figures(f)
	if err != nil {
		return err
	}
	var pictures []drawn
	for _, fig := range figs {
		svg, err := fig.svg()
		if err != nil {
			return err
		}
		pictures = append(pictures, drawn{fig.name, fig.title, fig.caption, template.HTML(svg)})
		png, err := fig.png()
		if err != nil {
			return err
		}
		if err := os.WriteFile(base+"-"+fig.name+".png", png, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	var b strings.Builder
	err = page.Execute(&b, map[string]any{"File": f, "Machine": machine(f), "Figures": pictures, "Goals": rows(f), "Blocks": blocks(f), "Failed": f.Failed()})
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(base+".html", []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func blocks(f *result.File) (list []block) {
	for _, k := range f.Keys() {
		b := block{Scenario: k.Scenario, Target: k.Target, N: k.N, Runs: len(f.Of(k))}
		for _, m := range result.Metrics {
			if s := f.Spread(k, m.Name); s.Count > 0 {
				b.Cells = append(b.Cells, cell{m.Title, m.Unit, s.String()})
			}
		}
		list = append(list, b)
	}
	return list
}
