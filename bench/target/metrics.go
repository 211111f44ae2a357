package target

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Samples are the values of a Prometheus page by metric name, summed over labels.
type Samples map[string]float64

// Scrape reads the metrics of the server; nil if it has none.
func (r *Running) Scrape(ctx context.Context) Samples {
	if r.Metrics == "" {
		return nil
	}
	body, err := get(ctx, r.Metrics)
	if err != nil {
		return nil // servers without metrics are measured all the same
	}
	defer body.Close()
	return parseSamples(body)
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("target: %s: %s", url, resp.Status)
	}
	return resp.Body, nil
}

func parseSamples(page io.Reader) Samples {
	samples := make(Samples)
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest := line, ""
		if i := strings.IndexAny(line, "{ "); i > 0 {
			name, rest = line[:i], line[i:]
		}
		if i := strings.LastIndexByte(rest, '}'); i >= 0 {
			rest = rest[i+1:]
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		if v, err := strconv.ParseFloat(fields[0], 64); err == nil {
			samples[name] += v
		}
	}
	return samples
}

// Collect asks the server for a garbage collection, by the profile page beside its metrics, and says whether it took place.
func (r *Running) Collect(ctx context.Context) bool {
	base, ok := strings.CutSuffix(r.Metrics, "/metrics")
	if !ok {
		return false
	}
	body, err := get(ctx, base+"/debug/pprof/heap?gc=1")
	if err != nil {
		return false
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err == nil
}
