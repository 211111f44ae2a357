package bench

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"push-server/bench/load"
)

const workerEnv = "PUSH_BENCH_TEST_WORKER"

// TestMain makes the test binary serve as worker, too.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := load.ServeWorker(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
