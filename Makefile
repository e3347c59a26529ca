# Every target is a thin name for cargo or for tests/run, which counts and times what it does.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help build demo fmt manual lint deny advisories unit simulate differential e2e faults services test

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

differential: ## Compare generated schemas, data and evolutions with Java Avro, fastavro, pyarrow and DuckDB (needs a JDK)
	$(PYTHON) tests/run differential

e2e: ## Build, then test the binary on real services (fetched the first time; see tests/services/README.md)
	$(PYTHON) tests/run build e2e

KILLS ?= 200
faults: ## Build, then kill -9, stop and cut off daemons on real services: KILLS kills in each of four long runs
	SLUICE_KILLS=$(KILLS) $(PYTHON) tests/run build faults

services: ## Start Kafka, a registry and MinIO to play with; Ctrl-C stops them
	cd tests && $(PYTHON) -m services up

test: ## All checks and tests; the last line says how many passed and failed
	$(PYTHON) tests/run all
