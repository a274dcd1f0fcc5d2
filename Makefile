# What people and CI run. `make demo` and `make test` are the two that matter; both say and install what is missing.

SHELL := /bin/bash
# Where rustup puts Rust when scripts/setup installs it.
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help demo test install soak fuzz bench fmt generate deb

help: ## lists the targets
	@sed -n 's/^\([a-z]*\):.*## /\1  /p' Makefile | column -t -l 2 2>/dev/null || sed -n 's/:.*## / - /p' Makefile

demo: ## backs up DIR (default: this repository) with a daemon in a temporary home, restores it, compares
	@scripts/demo

test: ## format, lints, all tests, documentation, service files
	@scripts/setup test
	@scripts/test

install: ## the programs into PREFIX/bin (default: /usr/local for root, else ~/.local)
	@scripts/install

soak: ## the random and fault tests in full counts with fresh seeds
	@scripts/setup test
	@scripts/soak

fuzz: ## libFuzzer on every decoder, five minutes each; says what is missing
	@scripts/fuzz

bench: ## this project beside restic, rustic, borg and bupstash; writes bench/results.md (half an hour)
	@scripts/bench

fmt: ## formats the code
	@cargo fmt --all

generate: ## shell completions and manual pages into target/share
	@scripts/setup package
	@programs=$$(scripts/build) && packaging/generate "$$programs" "$${programs%/release}/share"

deb: ## a Debian package into target/packages
	@scripts/setup package
	@programs=$$(scripts/build) && packaging/deb/build "$$programs" "$${programs%/release}/packages"
