package redisbus

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// place is where Redis is: at one address, where sentinels say, or at one of the nodes of a cluster.
type place struct {
	network   string
	sentinels *sentinels // nil: there are none
	cluster   *cluster   // nil: it is none
	greeting  []byte     // asks a new connection who is at the other end; it may have a password. nil: nobody asks
	answers   []answer   // to greeting
}

// answer takes what is said to one of the questions of a greeting.
type answer func(s *server, text string) error

// server is a Redis that a connection leads to.
type server struct {
	name    string // of this run of it, or its address; "": not known
	addr    string
	replica bool

	// Of a node of a cluster:
	moved string   // where the slot is, if not here
	epoch int64    // of its configuration: it grows with each failover
	peers []string // other nodes, first those that may take over
}

// greet has new connections asked for what INFO says. rueidis has no place for it: it has to be known before the first command is sent.
func (p *place) greet(user, password string) {
	if user != "" || password != "" {
		words := []string{"AUTH", password}
		if user != "" {
			words = []string{"AUTH", user, password}
		}
		p.ask(nothing, words...)
	}
	if p.cluster != nil {
		p.ask(takeOwner, "GET", p.cluster.key)
		p.ask(takeNodes, "CLUSTER", "NODES")
	}
	p.ask(takeInfo, "INFO", "server")
	p.ask(takeInfo, "INFO", "replication")
}

func nothing(*server, string) error { return nil }

func takeInfo(s *server, text string) error {
	for line := range strings.SplitSeq(text, "\r\n") {
		if name, ok := strings.CutPrefix(line, "run_id:"); ok {
			s.name = name
		}
		s.replica = s.replica || line == "role:slave"
	}
	return nil
}

func (p *place) ask(take answer, words ...string) {
	p.greeting = fmt.Appendf(p.greeting, "*%d\r\n", len(words))
	for _, word := range words {
		p.greeting = fmt.Appendf(p.greeting, "$%d\r\n%s\r\n", len(word), word)
	}
	p.answers = append(p.answers, take)
}

// connect connects to the Redis of now and finds out which one it is. With sentinels and in a cluster that is a master, and addr is not
// looked at.
func (p *place) connect(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, server, error) {
	if p.cluster != nil {
		return p.cluster.connect(ctx, func(ctx context.Context, addr string) (net.Conn, server, error) {
			return p.connectTo(ctx, addr, d, config)
		})
	}
	if p.sentinels == nil {
		return p.connectTo(ctx, addr, d, config)
	}
	if next := p.next(); next != "" {
		if conn, s, err := p.connectTo(ctx, next, d, config); err == nil {
			return conn, s, nil
		}
	}
	addr, err := p.sentinels.master(ctx)
	if err != nil {
		return nil, server{}, err
	}
	begun := time.Now()
	conn, s, err := p.connectTo(ctx, addr, d, config)
	if err != nil || time.Since(begun) < prompt {
		return conn, s, err
	}
	// A master that was stopped answers when it is no master any more, and does not know.
	if again, err := p.sentinels.master(ctx); err != nil || again != addr || p.next() != "" {
		conn.Close()
		return nil, server{}, fmt.Errorf("redisbus: %s took long to answer, and may not be the master %q any more", addr, p.sentinels.name)
	}
	return conn, s, nil
}

// prompt is how long a server may take to answer before sentinels are asked again whether it is the master.
const prompt = 50 * time.Millisecond

// next is the address of the server that is about to be the master; "": there is none.
func (p *place) next() string {
	if p.sentinels == nil {
		return ""
	}
	return p.sentinels.next()
}

func (p *place) connectTo(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, server, error) {
	conn, err := p.dial(ctx, addr, d, config)
	if err != nil {
		return nil, server{}, err
	}
	closing := context.AfterFunc(ctx, func() { conn.Close() })
	s, err := p.meet(conn)
	s.addr = addr
	switch {
	case !closing():
		err = ctx.Err()
	case err == nil && s.replica && p.sentinels != nil:
		err = fmt.Errorf("redisbus: %s is a replica, though sentinels say that it is the master %q", addr, p.sentinels.name)
	}
	if err != nil {
		conn.Close()
		return nil, server{}, err
	}
	if s.name == "" && (p.sentinels != nil || p.cluster != nil) {
		s.name = addr
	}
	return conn, s, nil
}

func (p *place) dial(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	if config != nil {
		return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, p.network, addr)
	}
	return d.DialContext(ctx, p.network, addr)
}

// meet asks who is at the other end of conn. A user who may not know is told nothing; other errors show again, and better, when
// rueidis says the same.
func (p *place) meet(conn net.Conn) (s server, err error) {
	if p.greeting == nil {
		return s, nil
	}
	if _, err := conn.Write(p.greeting); err != nil {
		return s, err
	}
	r := bufio.NewReader(conn)
	var refused error
	for _, take := range p.answers {
		text, err := readAnswer(r)
		if err != nil {
			return s, errors.Join(refused, err) // Redis says why it closes a connection
		}
		if strings.HasPrefix(text, "-") {
			refused = errors.New(strings.TrimPrefix(text, "-"))
		}
		if err := take(&s, text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// maxAnswer is more than what INFO says in one section, or a cluster of a thousand nodes of them.
const maxAnswer = 1 << 20

// readAnswer reads an answer that is text. What begins with a minus is an error.
func readAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	length, ok := strings.CutPrefix(line, "$")
	if !ok {
		return line, nil
	}
	n, err := strconv.Atoi(length)
	if n == -1 {
		return "", nil // there is nothing
	}
	if err != nil || n < 0 || n > maxAnswer {
		return "", fmt.Errorf("redisbus: a question about the server is answered with %.20q", line)
	}
	text := make([]byte, n+len("\r\n"))
	_, err = io.ReadFull(r, text)
	return string(text), err
}

// dialWithin bounds all of connect.
func dialWithin(ctx context.Context, d *net.Dialer) (context.Context, context.CancelFunc) {
	if d.Timeout <= 0 {
		return context.WithTimeout(ctx, time.Second)
	}
	return context.WithTimeout(ctx, d.Timeout)
}
