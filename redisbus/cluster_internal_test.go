package redisbus

import (
	"slices"
	"testing"
)

// TestNodesOfACluster: the lines of all versions, with and without host names.
func TestNodesOfACluster(t *testing.T) {
	var s server
	err := takeNodes(&s, `a1 10.0.0.1:6379@16379,one.example master - 0 1795878168706 2 connected 0-5460
b1 10.0.0.2:6379@16379,,shard-id=7 master - 0 1795878168706 3 connected 5461-10921
c2 10.0.0.6:6379@16379 slave c1 0 1795878168706 4 connected
c3 fd00::7:6379@16379,,tls-port=0,shard-id=7 slave c1 0 1795878168706 4 connected
d1 :0@0 master,noaddr - 0 1795878168706 5 disconnected
c1 10.0.0.3:6379@16379,three.example,shard-id=8 myself,master - 0 1795878168706 4 connected 10922-16383
`)
	want := []string{"10.0.0.6:6379", "[fd00::7]:6379", "one.example:6379", "10.0.0.2:6379"}
	if err != nil || s.epoch != 4 || !slices.Equal(s.peers, want) {
		t.Errorf("%v, epoch %d, peers %q", err, s.epoch, s.peers)
	}
	s = server{}
	if err := takeNodes(&s, "-NOPERM User portal has no permissions to run the 'cluster|nodes' command"); err != nil || len(s.peers) > 0 {
		t.Errorf("to whom may not ask: %v, %q", err, s.peers)
	}
}
