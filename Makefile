# ompipe: what a person types. Everything that is built goes below .build/ and target/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-programs fault-matrix chaos lint images sbom sandbox helm chart manifests crds bench bench-operator bench-server deny clean

# A cluster that the shell happens to point at is not for tests: it has to be named, KUBECONFIG=FILE.
ifneq ($(origin KUBECONFIG),command line)
unexport KUBECONFIG
endif

# Cargo shares the processors out itself: make's job server is not for it.
without_jobserver := env -u MAKEFLAGS -u MFLAGS

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: ## Run a real ingestion on a real Kubernetes, on this machine or with KUBECONFIG=FILE
	@demo/run $(if $(findstring command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)')

# The release build ends in minutes of one processor's work, so the rest is built beside it.
test: ## Run every test, on a sandbox of its own or with KUBECONFIG=FILE
	@$(MAKE) --no-print-directory --jobs=2 images sandbox test-programs helm
	@rm -rf .build/matrix
	tests/on-cluster cargo test --workspace --locked
	cargo run --quiet --locked --package ompipe-tests --bin fault-matrix -- --check
	cd sandbox && go test ./...

test-programs: ## Build the tests
	@$(without_jobserver) cargo test --workspace --locked --no-run

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
	@$(without_jobserver) images/build all

sbom: ## Write what the images' binaries are made of, .build/images/*.cdx.json
	@images/sbom

sandbox: ## Build the Kubernetes sandbox, .build/bin/sandbox
	@sandbox/build

helm: ## Build helm, .build/bin/helm
	@charts/tools/build

chart: ## Check the Helm chart: lint, every supported Kubernetes, its plain manifests
	@charts/check

manifests: ## Render the chart to plain manifests, a kustomize base in deploy/
	@charts/manifests

crds: ## Write the definitions of the custom resources to crds/ and the chart
	cargo run --quiet --package ompipe -- crds | awk '/^---$$/ { file = "crds/" (n++ ? "cronomjobs" : "omjobs") ".yaml" } { print > file }'
	cp crds/*.yaml charts/ompipe/crds/

bench: sandbox images ## Measure what the documents promise
	@bench/run
	@bench/exit-handler

bench-operator: sandbox ## Measure the operator on fake nodes; ARGS="--check --soak-minutes 2"
	@bench/operator $(ARGS)

bench-server: sandbox images ## Measure the HTTP service: deploys, health, memory, pages of logs
	@bench/server $(ARGS)

deny: ## Check licences, bans and sources of the dependencies (needs cargo-deny)
	cargo deny check licenses bans sources

clean: ## Stop what runs and remove everything that was built
	@demo/stop
	rm -rf .build target
