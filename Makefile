# Nave's two commands are `make demo` and `make test`; `make help` lists the rest.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench soak crds map fmt

CARGO ?= cargo

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## Check the toolchains and build the test control plane into the user's cache (make demo and make test do it too)
	@scripts/doctor
	$(CARGO) run --quiet --package nave-bed --bin bed -- build

demo: ## One machine, four control planes: from a commit to three healthy clusters (ONCE=1 ends by itself)
	@scripts/doctor
	$(CARGO) run --quiet --package nave-demo -- $(if $(ONCE),--once) $(DEMO_ARGS)

test: ## Everything that CI runs; T=<promise> runs the tests whose name contains it (T=flux, T=handover: beside Flux's own controllers)
	@scripts/doctor
	$(CARGO) xtask ci $(if $(T),--only $(T))

bench: ## Benchmarks beside their floor of the same run: B=<name> (B=list shows the names) [N=<apps>] [AGENTS=<n> PROFILE=<p>]
	@scripts/doctor
	$(CARGO) run --release --quiet --package nave-bench -- $(or $(B),list) $(if $(AGENTS),--agents $(AGENTS)) $(if $(PROFILE),--profile $(PROFILE)) $(BENCH_ARGS)

soak: ## Seeded fault rounds: S=<name> SEED=<n> [ROUNDS=<r>]
	@scripts/doctor
	$(CARGO) xtask soak $(or $(S),list) --seed $(or $(SEED),1) $(if $(ROUNDS),--rounds $(ROUNDS))

crds: ## Write crds/yaml from the Rust types
	$(CARGO) xtask crds

map: ## Print which crate uses which, and check the direction of the layers
	$(CARGO) xtask map

fmt: ## Format the Rust and Go code
	$(CARGO) fmt --all
	cd tests/controlplane && gofmt -w .
