# What people type. `make help` lists it; everything else is cargo, scripts/ and benches/.

CARGO ?= cargo
export CARGO

.PHONY: help build demo test bench soak fuzz lint fmt doc clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the static release binary, target/release/goinit
	$(CARGO) build --release --locked

demo: ## a Go program that hangs in init, and what goinit says about it
	@scripts/demo

test: ## every test; installs what it needs, counts what it cannot run
	@scripts/test

bench: ## figures side by side with tini, dumb-init and catatonit
	@benches/run

soak: ## 100,000 orphans, 10,000 signals, 1 GB of stderr, an hour of heartbeats
	@benches/soak

fuzz: ## a minute of each fuzz target; needs a C++ compiler
	@scripts/fuzz --seconds 60

lint: ## format, clippy and docs, as errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

fmt: ## format the source
	$(CARGO) fmt

doc: ## the documentation of the crate's inside
	$(CARGO) doc --locked --no-deps --document-private-items

clean: ## remove what was built, and the downloaded toolchains
	$(CARGO) clean
	rm -rf .cache fuzz/target fuzz/corpus fuzz/artifacts
