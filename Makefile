# The words of work on this project; `make` alone prints them.

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
BUILD    := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
FUZZTIME ?= 60s
PACKAGES ?= ./...

GOLANGCI    := bin/golangci-lint-v2.15.0
GOVULNCHECK := bin/govulncheck-v1.9.0

.PHONY: help run build test model test-slow test-packages test-attacks test-faults chaos day mutants vulncheck race lint fmt fuzz bench bench-full bench-smoke bench-report benchcmp bench-code package install uninstall clean deps

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build the server and serve configs/standalone.json, which needs nothing but this machine
	bin/push-server --config configs/standalone.json

build: ## build bin/push-server, and bin/push-bench
	@mkdir -p bin
	$(BUILD) -o bin ./cmd/...

test: deps ## run all tests, but for those that take minutes; PUSH_TEST_REDIS=path: with another redis-server, or a valkey-server
	go test -timeout 20m $(PACKAGES)
	go test -C configs/package ./...

model: ## run ten thousand schedules of each scenario of what can go wrong between the bus and the loops
	go test ./engine/feed -count=1 -timeout 10m -run '^TestModel$$' -schedules 10000

test-slow: deps ## run the recorded conversations with those that take minutes, and what of version 5 does
	PUSH_TEST_SLOW=1 go test -count=1 -timeout 15m -run 'TestConversations|TestVendorsClientStaysWhileServersStandStill|TestPortalSwitchesUnderLoad' ./cmd/push-server

test-packages: deps ## install, upgrade and remove the packages and the image on machines of their own
	PUSH_TEST_SLOW=1 go test -C configs/package -count=1 -timeout 15m ./...

test-attacks: deps ## let strangers do what takes memory, and crowds what takes time, and see what it costs others
	PUSH_TEST_SLOW=1 go test -count=1 -timeout 15m -v -run 'TestAttacks|TestBroadcastKeepsNobodyWaiting' ./cmd/push-server
	PUSH_TEST_SLOW=1 go test -count=1 -timeout 5m -v -run 'TestCrowdIsServedInOrder|TestCrowdComesBack' ./engine

FAULTS ?= short
test-faults: deps ## break Redis, lines and servers under a load of clients; FAULTS=long: four times as long each, and under more
	PUSH_TEST_FAULTS=$(FAULTS) go test -count=1 -timeout 30m -parallel 6 -run '^TestFaults' ./cmd/push-server

CHAOS ?= 10m
chaos: deps ## let faults happen at random under a load of clients, for CHAOS (10m); SEED repeats a run
	PUSH_TEST_CHAOS=$(CHAOS) PUSH_TEST_SEED=$(SEED) go test -count=1 -timeout 2h -v -run '^TestChaos$$' ./cmd/push-server

DAY ?= 24m
day: deps ## let a day of a portal pass in DAY (24m): sleeping laptops, other channels, rotated logs, everything started again
	PUSH_TEST_DAY=$(DAY) go test -count=1 -timeout 2h -v -run '^TestPortalDay$$' ./cmd/push-server

mutants: deps ## take the rule behind each promise out of the source, and see that a test notices
	PUSH_TEST_MUTANTS=1 go test -count=1 -timeout 30m -v -run '^TestMutants$$' ./cmd/push-server

race: deps ## run the tests with the race detector
	go test -race -timeout 30m $(PACKAGES)

deps: ## install what tests talk to (Redis, nginx, Node, Chromium, curl, strace, rpm, …) where it is missing
	@.ci/deps

lint: $(GOLANGCI) ## check form and the usual mistakes
	@test -z "$$(gofmt -l .)" || { echo "not formatted, run make fmt:"; gofmt -l .; exit 1; }
	go vet ./...
	$(GOLANGCI) run
	cd configs/package && go vet ./... && $(CURDIR)/$(GOLANGCI) run

$(GOLANGCI):
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(patsubst bin/golangci-lint-%,%,$@)
	@mv bin/golangci-lint $@

vulncheck: $(GOVULNCHECK) ## look for known vulnerabilities in what is called; where their database cannot be reached it says so
	@out=$$($(GOVULNCHECK) ./... 2>&1); code=$$?; echo "$$out"; case "$$out" in \
		*"fetching vulnerabilities"*) echo "NOT CHECKED: the database of vulnerabilities cannot be reached" ;; \
		*) exit $$code ;; \
	esac

$(GOVULNCHECK):
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin go install golang.org/x/vuln/cmd/govulncheck@$(patsubst bin/govulncheck-%,%,$@)
	@mv bin/govulncheck $@

fmt: ## format all Go files
	gofmt -w .

fuzz: ## fuzz everything that is read from elsewhere, FUZZTIME (60s) each
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$package || exit 1; \
		done; \
	done

# bench/README.md tells what is measured and how to read it. NICE=-n-5 lets it go before what else runs on the machine.
NICE    ?= -n0
OLD     ?= $(word 2,$(RESULTS))
NEW     ?= $(word 1,$(RESULTS))
RESULTS  = $(shell ls -t bench/results/*.json 2>/dev/null)
COUNT   ?= 10

bench: build ## put the server under load for ten minutes: results, report and plots in bench/results
	nice $(NICE) bin/push-bench suite quick >/dev/null

bench-full: build ## the same for an hour and a half: repetitions, more and more connections, other servers
	nice $(NICE) bin/push-bench suite full >/dev/null

bench-smoke: build ## put the server under load for a minute; fails when something is far from what it was
	nice $(NICE) bin/push-bench suite smoke >/dev/null

bench-report: build ## write report and plots again from NEW, the newest results
	bin/push-bench report $(NEW)

benchcmp: build ## compare two results: OLD=bench/results/….json NEW=bench/results/….json
	bin/push-bench benchcmp $(OLD) $(NEW)

bench-code: ## run the benchmarks of the code COUNT times, for benchstat; PACKAGES=./protocol for some
	go test -run '^$$' -bench . -benchmem -count $(COUNT) $(PACKAGES)

# Man pages have the date of the source, so that they are the same whenever they are made.
DATE = $(shell git log -1 --format=%ct 2>/dev/null)

ARCHS ?= amd64 arm64

package: ## put what is released into dist/: packages, tarballs, an image, licences, bills of materials, checksums
	rm -rf dist
	env -u GOOS -u GOARCH go run -C configs/package . -root $(CURDIR) -out $(CURDIR)/dist -version $(VERSION) \
		-commits $$(git rev-list --count HEAD 2>/dev/null || echo 0) -date $(or $(DATE),0) $(ARCHS)
	@ls dist

# Where install puts things: in PREFIX what the next version replaces, in /etc what is the operator's and stays as it is.
PREFIX ?= /usr/local
RUN_AS ?= bitrix
SERVER ?= bin/push-server

BINDIR  = $(DESTDIR)$(PREFIX)/bin
UNITDIR = $(DESTDIR)$(PREFIX)/lib/systemd/system
DATADIR = $(DESTDIR)$(PREFIX)/share/push-server
DOCDIR  = $(DESTDIR)$(PREFIX)/share/doc/push-server
MANDIR  = $(DESTDIR)$(PREFIX)/share/man/man1
BASHDIR = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR  = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
FISHDIR = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
ETC     = $(DESTDIR)/etc

# The files say what they are by default: where the programs are, and who runs them.
PLACED = sed -e 's,/usr/local/,$(PREFIX)/,g' -e 's/^\(User\|Group\|USER\|GROUP\)=bitrix$$/\1=$(RUN_AS)/' -e 's/su bitrix bitrix/su $(RUN_AS) $(RUN_AS)/'

install: ## put everything in place: PREFIX=/usr/local RUN_AS=bitrix DESTDIR=
	@test -x $(SERVER) || $(MAKE) build
	install -d $(BINDIR) $(UNITDIR) $(DATADIR) $(DOCDIR)/docs $(ETC)/push-server $(ETC)/default $(ETC)/logrotate.d $(ETC)/sysctl.d
	install -m 755 $(SERVER) $(BINDIR)/push-server
	install -m 755 configs/bitrixvm/push-server-multi $(BINDIR)
	@for unit in configs/systemd/*.service; do $(PLACED) $$unit >$(UNITDIR)/$${unit##*/} || exit; done
	install -m 644 configs/*.json configs/nginx/*.conf $(DATADIR)
	install -m 644 README.md LICENSE configs/MIGRATION.md $(DOCDIR)
	install -m 644 docs/*.md $(DOCDIR)/docs
	install -d $(MANDIR) $(BASHDIR) $(ZSHDIR) $(FISHDIR)
	SOURCE_DATE_EPOCH=$(DATE) $(SERVER) man $(MANDIR)
	$(SERVER) completion bash >$(BASHDIR)/push-server
	$(SERVER) completion zsh >$(ZSHDIR)/_push-server
	$(SERVER) completion fish >$(FISHDIR)/push-server.fish
	@keep() { test -e $$2 || { $(PLACED) $$1 >$$2 && echo $$2; }; }; \
	for template in configs/bitrixvm/*.json; do keep $$template $(ETC)/push-server/$${template##*/} || exit; done; \
	keep configs/logrotate/push-server $(ETC)/logrotate.d/push-server && \
	keep configs/sysctl/90-push-server.conf $(ETC)/sysctl.d/90-push-server.conf && \
	{ test -e $(ETC)/sysconfig/push-server-multi || keep configs/bitrixvm/push-server.default $(ETC)/default/push-server; }

uninstall: ## take away what install put into PREFIX; what is in /etc stays
	rm -f $(BINDIR)/push-server $(BINDIR)/push-server-multi $(UNITDIR)/push-server.service $(UNITDIR)/push-server-one.service $(UNITDIR)/push-server@.service
	rm -f $(MANDIR)/push-server.1 $(MANDIR)/push-server-*.1 $(BASHDIR)/push-server $(ZSHDIR)/_push-server $(FISHDIR)/push-server.fish
	rm -rf $(DATADIR) $(DOCDIR)

clean: ## remove what was built
	rm -rf bin dist
