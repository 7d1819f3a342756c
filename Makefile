# Short names for the commands of the house. CONTRIBUTING.md says when to use which.

# Length of the longer work; override on the command line: make fuzz FUZZTIME=10m
FUZZTIME ?= 30s
ROUNDS   ?= 200
BANK     ?= 5m
CHURN    ?= 10m
NEMESIS  ?= 30m
KILLS    ?= 50

.PHONY: check test test-all suite race lint conformance gateway ecosystem managed share soak bench brokers secure fuzz generate

check: ## what every change has to pass before it is proposed; a few minutes
	.ci/run format vet housecheck lint

test: ## README's test command; a few minutes
	go test ./...

test-all: ## the long suites too, as CI runs them; a missing toolchain is a failure
	.ci/run tests

suite: ## one folder below test/ in full: make suite SUITE=e2e, or SUITE=security/logins
	MILLRACE_TEST_REQUIRE=all go test -count=1 -v -timeout 30m ./test/$(SUITE)/...

race: ## the engine under the race detector
	.ci/run race

lint: ## the pinned linter
	.ci/run lint

conformance: ## foreign clients against millrace and Apache Kafka; a missing toolchain is a failure
	MILLRACE_TEST_REQUIRE=all go test -count=1 -v ./test/conformance/...

gateway: ## foreign clients against Apache Kafka behind a gateway
	MILLRACE_TEST_REQUIRE=all go test -count=1 -v -timeout 30m -run TestGateway ./test/conformance \
	-clients java,franz-go,sarama,kafka-go,confluent-kafka,kafka-python,aiokafka,kafkajs,kcat

ecosystem: ## Kafka's tools, Streams and Connect in full on millrace and Apache Kafka; Streams is killed KILLS times
	MILLRACE_TEST_REQUIRE=all MILLRACE_ECOSYSTEM=full MILLRACE_STREAMS_KILLS=$(KILLS) \
	go test -count=1 -v -timeout 3h ./test/ecosystem/...

managed: ## the MSK API in full: serve is killed at every saved step of every kind of operation, a host is taken away, load rises twentyfold
	MILLRACE_TEST_REQUIRE=all MILLRACE_KILLS=all MILLRACE_SERVERLESS=full go test -count=1 -v -timeout 2h ./test/managed/...

share: ## share groups through Apache Kafka's own client, on millrace and on Apache Kafka, over locks that run out and kills
	MILLRACE_TEST_REQUIRE=all MILLRACE_SHARE=full go test -count=1 -v -timeout 30m ./test/share/...

soak: ## the long kill test: ROUNDS rounds of kill -9 under load, and as many of each other fault; transactions and groups for BANK and CHURN; each cluster of the nemesis for NEMESIS
	MILLRACE_TEST_REQUIRE=all MILLRACE_KILL_ROUNDS=$(ROUNDS) MILLRACE_BANK=$(BANK) MILLRACE_CHURN=$(CHURN) MILLRACE_NEMESIS=$(NEMESIS) go test -count=1 -v -timeout 12h ./test/robust/...

brokers: ## Brokers come and go, beside Apache Kafka; options in bench/brokers: make brokers BENCH='-only roll'
	MILLRACE_TEST_REQUIRE=all go test -count=1 -v -timeout 4h ./bench/brokers -run '^TestBrokersComeAndGo$$' -full $(BENCH)

secure: ## what TLS, IAM, encryption at rest and the gateway cost, beside plain and Apache Kafka; options in bench/secure: make secure BENCH='-rounds 5'
	MILLRACE_TEST_REQUIRE=all go test -count=1 -v -timeout 1h ./bench/secure -run '^TestSecure$$' -full $(BENCH)

bench: ## Apache Kafka and millrace side by side; options in bench/first: make bench BENCH='-rounds 5'
	MILLRACE_TEST_REQUIRE=all go test -count=1 -v -timeout 4h ./bench/first -run '^TestCompare$$' -full $(BENCH)

fuzz: ## every fuzz test for FUZZTIME
	@go test -list '^Fuzz' ./... \
	| awk '/^Fuzz/ { name[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, name[i]; n = 0 }' \
	| while read -r package name; do \
		echo "== $$package $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
	done

generate: ## generated files, anew
	go generate ./...
