# Every target is a thin name for cargo or for tests/run, which counts and times what it does.
PYTHON ?= python3
SHAPES ?= orders
PEER ?= flink
BENCH = cd tests && "$$($(PYTHON) run --environment)" -m bench

.DEFAULT_GOAL := help
.PHONY: advisories bench bench-idle bench-instructions bench-linear bench-peer build demo deny differential e2e engines faults fmt fuzz help lint manual monitoring registries
.PHONY: services simulate test unit

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the binary, optimised: target/release/sluice
	cargo build --release --locked

demo: ## Show the whole pipeline at work, without any outside service
	cargo run --release --locked -- demo

fmt: ## Format the source
	cargo fmt

manual: ## Write docs/settings.md anew from the documentation of the settings
	SLUICE_WRITE_MANUAL=1 cargo test --locked --quiet --test manual

lint: ## Check formatting, clippy and rustdoc; every warning is an error
	$(PYTHON) tests/run fmt clippy doc

deny: ## Check licences, duplicate versions and sources of the dependencies
	$(PYTHON) tests/run deny

advisories: ## Check the dependencies for known vulnerabilities; needs the network: the database is on GitHub
	$(PYTHON) tests/run advisories

unit: ## Run the Rust tests
	$(PYTHON) tests/run unit

SEEDS ?= 20000
simulate: ## Run the simulation of the protocol with SEEDS seeds
	SLUICE_SEEDS=$(SEEDS) cargo test --locked --test simulation every_promise -- --nocapture

SECONDS ?= 60
fuzz: ## Mutate the corpus of every fuzz target for SECONDS each, on the stable compiler; SLUICE_SEED for another run
	SLUICE_FUZZ_SECONDS=$(SECONDS) cargo test --locked --test fuzz -- --nocapture --test-threads=2

differential: ## Compare generated schemas, data and evolutions with Java Avro, fastavro, pyarrow and DuckDB (needs a JDK)
	$(PYTHON) tests/run differential

engines: ## Read our files with Spark, Trino, Polars, DataFusion, ClickHouse, DuckDB and pyarrow (fetches 1.5 GB; needs a JDK 17)
	$(PYTHON) tests/run engines

monitoring: ## Build, then show alerts and dashboard on a real Prometheus with Kafka and MinIO (builds it the first time)
	$(PYTHON) tests/run build monitoring

registries: ## Build, then read through a real Apicurio 3 by both of its APIs (fetches 150 MB; needs a Java 21)
	$(PYTHON) tests/run build registries

e2e: ## Build, then test the binary on real services (fetched the first time; see tests/services/README.md)
	$(PYTHON) tests/run build e2e

KILLS ?= 200
faults: ## Build, then kill -9, stop and cut off daemons on real services: KILLS kills in each of four long runs
	SLUICE_KILLS=$(KILLS) $(PYTHON) tests/run build faults

bench: ## Measure whole runs on real Kafka beside their floor; SHAPES=all for every shape of data (docs/performance.md)
	cargo build --release --locked --bin sluice --example floor
	$(BENCH) run --shapes $(SHAPES)

bench-linear: ## Measure cost against the number of records, partitions and tasks
	cargo build --release --locked --bin sluice
	$(BENCH) linear

bench-idle: ## Measure a daemon that has nothing to do
	cargo build --release --locked --bin sluice
	$(BENCH) idle

bench-instructions: ## Count instructions of decoding and encoding (valgrind); fails when 3 % more than committed
	cargo build --release --locked --example hot_paths
	$(BENCH) instructions

bench-peer: ## Measure PEER (flink or python) beside sluice, on the same orders
	cargo build --release --locked --bin sluice
	$(BENCH) peer $(PEER)

services: ## Start Kafka, a registry and MinIO to play with; Ctrl-C stops them
	cd tests && $(PYTHON) -m services up

test: ## All checks and tests; the last line says how many passed and failed
	$(PYTHON) tests/run all
