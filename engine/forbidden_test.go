package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"push-server/poll"
	"push-server/protocol"
)

// Where the bus may store nothing any more, a request is refused whole or kept whole: what is refused may be sent again and nothing is
// doubled, what was acknowledged, or stored in part, is stored when the bus may.
func TestRefusedWhole(t *testing.T) {
	away, forbidden := errors.New("away"), fmt.Errorf("%w: no scripts", ErrForbidden)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		q, bus := newTestQueue(t, func(o *Options) { o.AcceptTimeout = time.Hour })
		bus.plan = func(n int) (int, error) {
			switch r.IntN(4) {
			case 0:
				return r.IntN(n), away
			case 1:
				return r.IntN(2) * r.IntN(n), forbidden
			}
			return n, nil
		}
		answers := make(map[string]chan error)
		for step := 0; step < 50 || q.length() > 0; step++ {
			if step < 50 {
				q.ask(t, publisherKind(r.IntN(int(publisherKinds))), fmt.Sprintf("%02d", step), 1+r.IntN(300), answers)
			}
			if r.IntN(3) == 0 {
				q.acknowledgeAll()
			}
			if batch := q.next(); len(batch) > 0 {
				q.send(t.Context(), batch)
			}
		}
		checkWhole(t, bus.took, answers)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// ask enqueues a request of n publications called name, and notes where its answer comes.
func (q *publishQueue) ask(t *testing.T, kind publisherKind, name string, n int, answers map[string]chan error) {
	t.Helper()
	var ps []*protocol.Publication
	for i := range n {
		ps = append(ps, publication(fmt.Sprintf("%s %03d", name, i), 60, private(newItem())))
	}
	answer := make(chan error, 1)
	if err := q.enqueue(kind, ps, answer, nil); err != nil {
		answer <- err
	}
	answers[fmt.Sprint(name, " of ", n)] = answer
}

// acknowledgeAll answers all who wait, as if AcceptTimeout were over.
func (q *publishQueue) acknowledgeAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		la := &q.lanes[i]
		for ; la.told < len(la.askers); la.told++ {
			la.askers[la.told].tell(poll.ErrAccepted)
		}
	}
}

// checkWhole wants all of the requests that were not refused to be stored once, and nothing of the others.
func checkWhole(t *testing.T, took []string, answers map[string]chan error) {
	t.Helper()
	stored := make(map[string]int)
	for _, text := range took {
		stored[text[:2]]++
	}
	refused := 0
	for request, answer := range answers {
		name, count, _ := strings.Cut(request, " of ")
		want, err := strconv.Atoi(count)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err = <-answer:
		default:
			t.Errorf("request %s has no answer", request)
		}
		if errors.Is(err, ErrForbidden) {
			want = 0
			refused++
		}
		if stored[name] != want {
			t.Errorf("request %s: %d stored, answered %v", request, stored[name], err)
		}
	}
	if refused == 0 || refused == len(answers) {
		t.Errorf("%d of %d requests were refused", refused, len(answers))
	}
	unique := slices.Clone(took)
	slices.Sort(unique)
	if len(slices.Compact(unique)) != len(took) {
		t.Error("something is stored twice")
	}
}
