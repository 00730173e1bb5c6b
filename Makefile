# ompipe: what a person types. Everything that is built goes below .build/ and target/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test fault-matrix chaos lint images sandbox crds bench bench-operator deny clean

# A cluster that the shell happens to point at is not for tests: it has to be named, KUBECONFIG=FILE.
ifneq ($(origin KUBECONFIG),command line)
unexport KUBECONFIG
endif

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: ## Run a real ingestion on a real Kubernetes, on this machine or with KUBECONFIG=FILE
	@demo/run $(if $(findstring command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)')

test: sandbox images ## Run every test, on a sandbox of its own or with KUBECONFIG=FILE
	@rm -rf .build/matrix
	tests/on-cluster cargo test --workspace --locked
	cargo run --quiet --locked --package ompipe-tests --bin fault-matrix -- --check
	cd sandbox && go test ./...

fault-matrix: sandbox images ## Try every end and fault in every mode, and write docs/fault-matrix.md
	@rm -rf .build/matrix
	tests/on-cluster cargo test --package ompipe-tests --test e2e --locked -- matrix::
	cargo run --quiet --locked --package ompipe-tests --bin fault-matrix

chaos: sandbox images ## Play random faults over 50 runs, again and again; SEED=42 MINUTES=10
	OMPIPE_CHAOS_SEED=$(SEED) OMPIPE_CHAOS_MINUTES=$(or $(MINUTES),10) \
	  tests/on-cluster cargo test --package ompipe-tests --test e2e --locked -- chaos:: --nocapture

lint: ## Check format and lints of Rust, Go, Python and shell
	@lint/run

images: ## Build the container images below .build/images
	@images/build all

sandbox: ## Build the Kubernetes sandbox, .build/bin/sandbox
	@sandbox/build

crds: ## Write the definitions of the custom resources to crds/
	cargo run --quiet --package ompipe -- crds | awk '/^---$$/ { file = "crds/" (n++ ? "cronomjobs" : "omjobs") ".yaml" } { print > file }'

bench: sandbox images ## Measure what the documents promise
	@bench/run
	@bench/exit-handler

bench-operator: sandbox ## Measure the operator on fake nodes; ARGS="--check --soak-minutes 2"
	@bench/operator $(ARGS)

deny: ## Check licences, bans and sources of the dependencies (needs cargo-deny)
	cargo deny check licenses bans sources

clean: ## Stop what runs and remove everything that was built
	@demo/stop
	rm -rf .build target
