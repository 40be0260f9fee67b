# Everything a person or a machine runs here. `make help` lists it.
# Needs Rust 1.95, make and a C compiler; `make test` also needs root, because its peers do (see scripts/peers).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test bench fuzz fmt lint doc deny

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{ printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build the daemon and run it with practice phones and debtors; prints a curl line that dials
	cargo run --release --locked -- demo

test: ## Install the peers, then run every check and every test; the first failure ends it
	scripts/test

bench: ## Measure the figures this project claims, each beside its peer in the same run
	scripts/bench

fuzz: ## Fuzz SIP messages, SDP and operation lists, a minute each (needs a nightly toolchain and cargo-fuzz)
	for target in message sdp operations; do \
	  (cd sip && cargo +nightly fuzz run $$target -- -max_total_time=60) || exit 1; done

fmt: ## Format all code
	cargo fmt --all

lint: ## fmt --check, clippy and shellcheck, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	shellcheck scripts/* .ci/run

doc: ## Build the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

deny: ## Check licences, sources and bans of all dependencies
	"$$(scripts/cargo-tool cargo-deny)" --locked check bans licenses sources
