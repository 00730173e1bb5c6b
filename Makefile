# ompipe: what a person types. Everything that is built goes below .build/ and target/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test nightly unit contract models e2e e2e-down docs stores fault-matrix chaos lint images release sbom sandbox helm chart manifests crds bench docs-images bench-build bench-operator bench-server deny hooks clean

# A cluster that the shell happens to point at is not for tests: it has to be named, KUBECONFIG=FILE.
ifneq ($(origin KUBECONFIG),command line)
unexport KUBECONFIG
endif

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: ## Run a real ingestion on a real Kubernetes, on this machine or with KUBECONFIG=FILE
	@demo/run $(if $(findstring command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)')

test: ## Run every test, on a sandbox of its own or with KUBECONFIG=FILE
	@setup/packages test
	@setup/axe
	@setup/build --first-step 2 --steps 9 kubernetes tests images helm models worker stores
	@tests/all

nightly: ## Run every test in its long form, for which `make test` has no time
	@OMPIPE_TEST_NIGHTLY=yes $(MAKE) test

unit: ## Run the tests that need neither root nor a cluster
	cargo test --workspace --lib --bins --test cli --test crds --test omjob_model --test standin --test fault_matrix --test log --test untrusted --locked
	@sandbox/unit

contract: helm models ## Run the tests against recorded requests, OpenMetadata's models, and the rendered chart
	@setup/packages monitoring
	cargo test --workspace --test contract --test builders --test worker_lines --test cron_slots --test chart --locked

stores: ## Run the tests of the archive of logs in real object stores
	@setup/packages stores
	@setup/stores
	cargo test --package ompipe-archive --test stores --locked

e2e: ## Run end-to-end tests on a sandbox that stays up; T=kill:: for a group or one test
	@setup/packages test
	@setup/axe
	@setup/build kubernetes images helm
	tests/on-cluster --keep tests/cargo-test --workspace --test e2e -- $(T)

e2e-down: ## End the sandboxes that `make e2e` left up
	@.build/bin/sandbox --dir .build/clusters/test down
	@.build/bin/sandbox --dir .build/clusters/breakable down

docs: sandbox images helm ## Execute the commands of the documents, and count those that are not executed
	@rm -rf .build/docs-blocks
	tests/on-cluster cargo test --workspace --test e2e --locked -- docs::
	cargo run --quiet --locked --package ompipe-tests --bin docs-blocks

fault-matrix: sandbox images ## Try every end and fault in every mode, and write docs/fault-matrix.md
	@rm -rf .build/matrix
	tests/on-cluster cargo test --workspace --test e2e --locked -- matrix::
	cargo run --quiet --locked --package ompipe-tests --bin fault-matrix

chaos: sandbox images ## Play random faults over 50 runs, again and again; SEED=42 MINUTES=10
	OMPIPE_CHAOS_SEED=$(SEED) OMPIPE_CHAOS_MINUTES=$(or $(MINUTES),10) \
	  tests/on-cluster cargo test --workspace --test e2e --locked -- chaos:: --nocapture

lint: ## Check format and lints of Rust, Go, Python and shell
	@lint/run

images: ## Build the container images that tests load, .build/images
	@images/build all

release: ## Build the optimised programs and images for people to run, .build/images/release
	@images/build --release all

sbom: ## Write what the images' binaries are made of, .build/images/*.cdx.json
	@images/sbom

sandbox: ## Build the Kubernetes sandbox, .build/bin/sandbox
	@sandbox/build

helm: ## Build helm, .build/bin/helm
	@charts/tools/build

models: ## Install the worker's models of every release line, .build/models
	@tests/models/build

chart: ## Check the Helm chart: lint, every supported Kubernetes, its plain manifests
	@charts/check

manifests: ## Render the chart to plain manifests, a kustomize base in deploy/
	@charts/manifests

crds: ## Write the definitions of the custom resources to crds/ and the chart
	cargo run --quiet --package ompipe -- crds | awk '/^---$$/ { file = "crds/" (n++ ? "cronomjobs" : "omjobs") ".yaml" } { print > file }'
	cp crds/*.yaml charts/ompipe/crds/

docs-images: ## Make the pictures of the page, docs/images, with a browser and a sandbox
	@setup/packages test
	@setup/build kubernetes images helm
	tests/on-cluster tests/cargo-test --workspace --test e2e -- pictures::
	@mkdir -p docs/images
	@for picture in .build/screenshots/docs-*.png; do cp "$$picture" "docs/images/$${picture##*/docs-}"; done

bench-build: ## Measure cold and warm demos, and a rebuild after a change of one line, in a fresh clone
	@bench/build $(ARGS)

bench: sandbox images ## Measure what the documents promise
	@bench/run
	@bench/exit-handler

bench-operator: sandbox ## Measure the operator on fake nodes; ARGS="--check --soak-minutes 2"
	@bench/operator $(ARGS)

bench-server: sandbox images ## Measure the HTTP service: deploys, health, memory, pages of logs
	@bench/server $(ARGS)

hooks: ## Check format and scripts before each commit: installs a Git hook
	@ln -sf "$(CURDIR)/setup/pre-commit" "$$(git rev-parse --git-path hooks)/pre-commit"

deny: ## Check licences, bans, sources and advisories of the dependencies (needs cargo-deny)
	cargo deny check licenses bans sources
	@lint/advisories

clean: ## Stop what runs and remove everything that was built
	@demo/stop
	rm -rf .build target
