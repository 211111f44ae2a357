package redisbus_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What packages of others start when they are loaded never ends.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }
