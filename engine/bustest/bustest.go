// Package bustest is the contract of engine.Bus as tests. Every bus runs them; where two buses disagree, one has a bug and
// this package says which.
package bustest

import (
	"testing"
	"time"

	"push-server/engine"
)

// Factory opens the buses of one installation, which begins empty.
type Factory struct {
	// Open returns the bus of one more process. The tests close it. Its message and channel TTL are the defaults.
	Open func(t *testing.T) engine.Bus
	// Processes says that buses of this Factory see each other.
	Processes bool
	// Advance lets time pass. nil: it passes by itself, and the tests wait for it.
	Advance func(d time.Duration)
	// LoseAnswer arranges that the next Publish stores everything and then fails, as if the answer had got lost on its way.
	// nil: this cannot happen to the bus.
	LoseAnswer func(t *testing.T)
}

// Run runs the contract. open is called once for each of its tests.
func Run(t *testing.T, open func(t *testing.T) Factory) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, f Factory)
	}{
		{"ids grow", testIDsGrow},
		{"delivery is in the order of ids", testDeliveryOrder},
		{"a publication arrives whole", testDeliveredFields},
		{"large and odd bodies", testBodies},
		{"several receivers, delivered once", testSeveralReceivers},
		{"a receiver named twice", testReceiverTwice},
		{"expiry 0 is delivered, not stored", testExpiryZero},
		{"expiry is capped", testExpiryCap},
		{"expired publications are gone", testExpired},
		{"expired publications take no place", testExpiredTakeNoPlace},
		{"stored", testStored},
		{"history of nothing", testHistoryOfNothing},
		{"history from since to until", testHistoryBounds},
		{"history limits", testHistoryLimits},
		{"history of many publications", testHistoryOfMany},
		{"history names the channels it was asked for", testHistoryReceivers},
		{"private and public are two name spaces", testNameSpaces},
		{"shared channels read the same", testHistoryShared},
		{"many queries", testManyQueries},
		{"answers of history are bounded", testHistoryBounded},
		{"how much longer it is stored", testRemaining},
		{"echo comes after publications", testEcho},
		{"echo of an empty bus", testEchoEmpty},
		{"the handler is never called concurrently", testConcurrency},
		{"subscribe ends with its context", testSubscribeEnds},
		{"a second subscription begins with a gap", testGap},
		{"one subscription at a time", testOneSubscription},
		{"publishing needs no subscription", testNoSubscription},
		{"an ended context stores nothing", testEndedContext},
		{"a closed bus", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("two processes", func(t *testing.T) { runProcesses(t, open) })
	t.Run("a lost answer", func(t *testing.T) { runLostAnswer(t, open) })
}

func runProcesses(t *testing.T, open func(t *testing.T) Factory) {
	if !open(t).Processes {
		return
	}
	t.Run("see each other", func(t *testing.T) { testProcesses(t, open(t)) })
	t.Run("have one order", func(t *testing.T) { testOneOrder(t, open(t)) })
	t.Run("keep their echoes to themselves", func(t *testing.T) { testOwnEcho(t, open(t)) })
}

func runLostAnswer(t *testing.T, open func(t *testing.T) Factory) {
	if open(t).LoseAnswer == nil {
		return
	}
	t.Run("of one publication", func(t *testing.T) { testLostAnswer(t, open(t), 1) })
	t.Run("of a batch", func(t *testing.T) { testLostAnswer(t, open(t), 20) })
}
