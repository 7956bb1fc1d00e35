# Every target does its own set-up; nothing is written outside this folder.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA ?=
SINCE ?=
SETTINGS ?=
TO ?=
FROM ?=
REPLACE ?=
MONTHS ?= 24
EVIDENTLY ?=
DRY_RUN ?=
export RENTALS_HOME ?= $(CURDIR)/.rentals
export TMPDIR := $(RENTALS_HOME)/tmp
export ORT_DISABLE_TELEMETRY := 1
# In a file or a pipe, too, what is printed comes when and in the order in which it is printed.
export PYTHONUNBUFFERED := 1
PIP = -m pip install --quiet --no-cache-dir --disable-pip-version-check
RUN = .venv/bin/python
# The environments take 4.4 GB with the CPU build of PyTorch; its default build brings some GB more.
SETUP_GIGABYTES = 5
ROOMS = feature_repo models serving monitoring flows deploy
# Two processes take the tests file by file, in the order of tests/conftest.py.
SIDE_BY_SIDE = --numprocesses 2 --dist loadfile --no-loadscope-reorder
# The stamps below: an environment is ready when its packages were all installed.
MAIN = .venv/.ready
TRITON = .venvs/triton/.ready
FEEDBACK = .venvs/feedback/.ready
AUDIT = .venvs/audit/.ready
# Where images go and come from, and which.
IMAGES = flows api feedback triton
REGISTRY ?= registry.example.com/rentals
TAG ?= 0.1.0
OVERLAY ?= cpu
VERSION ?=
MANIFESTS = $(RENTALS_HOME)/manifests
TRIVY ?= trivy
ROLLOUT_TIMEOUT ?= 5h
# What is run on the cluster by hand, and whose settings, account and volumes it gets.
COMMAND ?=
OF ?= rollout
KUBECTL ?= kubectl

API_URL = $(shell $(RUN) -m serving status | $(RUN) -c 'import json, sys; print(json.load(sys.stdin)["api_url"])')
# Of each route and kind of value; in all it is some more than ten thousand requests.
FUZZ_EXAMPLES ?= 1000

.DEFAULT_GOAL := help
.PHONY: help setup doctor demo up down status stream features train search precompute monitor replay-quarantine skew backup restore \
  catalogue feast-ui replay refresh bench-features bench-loop bench-model bench-serving bench-drift fuzz test \
  test-fast lint format clean prometheus data-docs control-room deploy-flows lint-deploy images push-images \
  scan-images manifests check-manifests deploy-serving promote on-cluster scale audit sbom

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(MAIN) $(TRITON) $(FEEDBACK) ## install the environments (every other target does it when needed)

demo: setup ## ratings to a canary and back, end to end; DATA=<file> for Rent the Runway
	@$(RUN) -m flows demo --data "$(DATA)"

up: setup ## serve the last champion, without training
	@$(RUN) -m flows up

down: ## stop everything that was started
	@if [ -x $(RUN) ]; then $(RUN) -m serving down; fi

status: setup ## what is served, by which version, with which weight
	@$(RUN) -m serving status

stream: $(MAIN) ## events of .rentals/stream/inbox into features and the lake, until Ctrl-C
	@$(RUN) -m feature_repo.stream

features: setup ## ratings of DATA=<file> into online features; without DATA what the lake holds, or the generator
	@$(RUN) -m flows run features data="$(DATA)"

train: setup ## train, evaluate, export and register a model on what the lake holds
	@$(RUN) -m flows run train

refresh: setup ## export the champion again with the catalogue of today; a version for a rollout
	@$(RUN) -m flows run refresh

precompute: setup ## every user's best rentals by the champion into SQL, for apps that read a database
	@$(RUN) -m flows run precompute

search: setup ## search hyperparameters on days before the tests; the settings to take in .rentals/search/best.env
	@$(RUN) -m flows run search

monitor: setup ## judge the champion: performance, drift of ratings and of what is served; an alarm trains
	@$(RUN) -m flows run monitor

deploy-flows: $(MAIN) ## every flow to Argo Workflows; DRY_RUN=1 only writes the resources to .rentals/argo
	@$(RUN) -m flows deploy $(if $(DRY_RUN),--dry-run)

replay-quarantine: $(MAIN) ## validate quarantined rows again, after a fix, and land what is good now
	@$(RUN) -m flows quarantine

data-docs: $(MAIN) ## check the prediction log too, and say where the pages on all tables' quality are
	@$(RUN) -m flows data-docs

doctor: $(MAIN) ## check each connection, version and permission; SETTINGS=<file> takes those of a file as well
	@$(RUN) -m flows doctor --settings "$(SETTINGS)"

backup: $(MAIN) ## all that .rentals holds as a new folder in TO=<folder>, while everything runs
	@[ -n "$(TO)" ] || { echo "say where: make backup TO=<folder on another disk>"; exit 1; }
	@$(RUN) -m flows backup --to "$(TO)"

restore: $(MAIN) ## bring the backup FROM=<folder> into .rentals; REPLACE=1 sets aside what is there
	@[ -n "$(FROM)" ] || { echo "say which: make restore FROM=<folder that make backup has printed>"; exit 1; }
	@$(RUN) -m flows restore --from "$(FROM)" $(if $(REPLACE),--replace)

skew: setup ## compare served features with recomputed ones; SINCE=<time> for the requests after it
	@$(RUN) -m flows skew --since "$(SINCE)"

catalogue: $(MAIN) ## every feature on one page: what it means, how well it is filled
	@$(RUN) -m feature_repo.catalogue

feast-ui: $(MAIN) ## Feast's own user interface on the registry, until interrupted
	@$(RUN) -m feature_repo.feast_ui

replay: setup ## policies of retraining on the last MONTHS=24 months of DATA=<file>; plot in .rentals/bench/replay.svg
	@$(RUN) -m flows replay --data "$(DATA)" --months "$(MONTHS)"

prometheus: $(MAIN) ## a Prometheus with the alerts on what is served, until interrupted
	@$(RUN) -m serving prometheus

control-room: setup ## one page for people: what serves, learns and drifts, and the buttons; until interrupted
	@$(RUN) -m flows control-room

bench-features: $(MAIN) ## measure the features of DATA=<file>; figures in .rentals/bench/features.json
	@$(RUN) -m feature_repo.benchmark --data "$(DATA)"

bench-model: $(MAIN) ## measure the recommender on DATA=<file>; figures in .rentals/bench/model.json
	@$(RUN) -m flows bench-model --data "$(DATA)"

bench-serving: setup ## measure serving with a model of DATA=<file>; figures in .rentals/bench/serving.json
	@RENTALS_HOME=$(RENTALS_HOME)/bench/serving $(RUN) -m flows bench-serving --data "$(DATA)"

fuzz: setup ## ten thousand requests, made from the API's own document, to what is served; needs RENTALS_API_KEY
	@[ -n "$(RENTALS_API_KEY)" ] || { echo 'export RENTALS_API_KEY="$$(.venv/bin/python -m serving key)" first'; exit 1; }
	@mkdir -p $(RENTALS_HOME)/fuzz && cd $(RENTALS_HOME)/fuzz && \
	  $(CURDIR)/.venv/bin/schemathesis --config-file $(CURDIR)/schemathesis.toml run --max-examples $(FUZZ_EXAMPLES) \
	  --header "Authorization: Bearer $(RENTALS_API_KEY)" $(API_URL)/openapi.json

bench-loop: setup ## measure how fast the model follows its data; figures in .rentals/bench/loop.json
	@RENTALS_HOME=$(RENTALS_HOME)/bench/loop $(RUN) -m flows bench-loop --data "$(DATA)"

bench-drift: $(MAIN) ## measure drift statistics beside scipy; EVIDENTLY=<python> beside it too
	@$(RUN) -m monitoring.benchmark --evidently "$(EVIDENTLY)"

test: lint setup ## lint and the whole test suite
	@$(RUN) -m pytest $(SIDE_BY_SIDE)

test-fast: setup ## the tests that start no server, no Spark and no flow
	@$(RUN) -m pytest $(SIDE_BY_SIDE) -m "not slow"

lint: $(MAIN) lint-deploy ## format, rules and types; images and workflows
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

lint-deploy: $(MAIN)
	@.venv/bin/hadolint deploy/images/*.Dockerfile
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yaml
	@.venv/bin/zizmor --quiet --offline .github

images: ## build the images; REGISTRY=<where they go> TAG=<which>; needs docker
	@for image in $(IMAGES); do \
	  docker build --pull --file deploy/images/$$image.Dockerfile --tag $(REGISTRY)/rentals-$$image:$(TAG) . || exit 1; done

scan-images: ## known holes in the built images, high and critical ones that have a fix; needs trivy
	@for image in $(IMAGES); do \
	  $(TRIVY) image --exit-code 1 --ignore-unfixed --severity HIGH,CRITICAL $(REGISTRY)/rentals-$$image:$(TAG) || exit 1; done

push-images: ## the built images into their registry
	@for image in $(IMAGES); do docker push $(REGISTRY)/rentals-$$image:$(TAG) || exit 1; done

manifests: $(MAIN) ## manifests of every overlay into .rentals/manifests; REGISTRY=, TAG=, VERSION=<of the first model>
	@$(RUN) -m deploy render --registry $(REGISTRY) --tag $(TAG) --version $(or $(VERSION),1)

check-manifests: $(MAIN) ## render the manifests of every overlay and check them, without a cluster
	@$(RUN) -m deploy check --registry $(REGISTRY) --tag $(TAG) --version $(or $(VERSION),1)

deploy-serving: manifests ## apply the manifests of OVERLAY=<cpu|gpu>; a deployment that serves keeps its weights
	@$(KUBECTL) apply --filename $(MANIFESTS)/$(OVERLAY)/platform.yaml
	@$(KUBECTL) get --filename $(MANIFESTS)/$(OVERLAY)/champion.yaml >/dev/null 2>&1 || \
	  $(KUBECTL) create --filename $(MANIFESTS)/$(OVERLAY)/champion.yaml

promote: | $(TMPDIR) ## roll VERSION=<registered version> out on the cluster by the rollout flow; fails if it is taken back
	@case "$$VERSION" in ''|*[!0-9]*) echo "say which: make promote VERSION=<registered version>"; exit 1 ;; esac
	@$(KUBECTL) create job rollout-v$(VERSION)-$$(date +%s) --namespace rentals --from cronjob/rollout \
	    --dry-run=client --output yaml > $(TMPDIR)/rollout.yaml
	@$(KUBECTL) set env --local --filename $(TMPDIR)/rollout.yaml VERSION=$(VERSION) --output yaml > $(TMPDIR)/job.yaml
	@$(KUBECTL) create --filename $(TMPDIR)/job.yaml
	@$(KUBECTL) wait --filename $(TMPDIR)/job.yaml --timeout $(ROLLOUT_TIMEOUT) \
	    --for jsonpath='{.status.conditions[?(@.status=="True")].type}'
	@serves=$$($(KUBECTL) get seldondeployment rentals --namespace rentals \
	    --output jsonpath='{.spec.predictors[*].name}') && [ "$$serves" = v$(VERSION) ] || \
	  { echo "version $(VERSION) was not promoted: $$serves serves; the job's log says why"; exit 1; }

on-cluster: | $(TMPDIR) ## COMMAND='python -m flows …' in a pod of the cluster like that of OF=<rollout|backup>, and its output
	@[ -n "$$COMMAND" ] || { echo "say what: make on-cluster COMMAND='python -m flows …'"; exit 1; }
	@command=$$("$(PYTHON)" -c 'import json, os, shlex; print(json.dumps(shlex.split(os.environ["COMMAND"])))') && \
	  job=by-hand-$$(date +%s) && \
	  $(KUBECTL) create job $$job --namespace rentals --from cronjob/$(OF) \
	    --dry-run=client --output yaml > $(TMPDIR)/by-hand.yaml && \
	  $(KUBECTL) patch --local --filename $(TMPDIR)/by-hand.yaml --type json --output yaml \
	    --patch "[{\"op\": \"add\", \"path\": \"/spec/backoffLimit\", \"value\": 0}, {\"op\": \"replace\", \
	      \"path\": \"/spec/template/spec/containers/0/command\", \"value\": $$command}]" > $(TMPDIR)/job.yaml && \
	  $(KUBECTL) create --filename $(TMPDIR)/job.yaml && \
	  $(KUBECTL) wait job/$$job --namespace rentals --timeout $(ROLLOUT_TIMEOUT) \
	    --for jsonpath='{.status.conditions[?(@.status=="True")].type}' && \
	  $(KUBECTL) logs job/$$job --namespace rentals && \
	  [ "$$($(KUBECTL) get job $$job --namespace rentals --output jsonpath='{.status.succeeded}')" = 1 ]

scale: $(MAIN) ## what each part takes at 100 million users, and where it breaks first
	@$(RUN) -m deploy scale

audit: $(AUDIT) ## known holes in what the project depends on
	@.venvs/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt
	@for room in triton feedback; do \
	  .venvs/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement serving/$$room-requirements.txt || exit 1; done

sbom: $(MAIN) $(AUDIT) ## what the environment is made of, as CycloneDX, into .rentals/sbom.json
	@.venvs/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file $(RENTALS_HOME)/sbom.json $(RUN)
	@echo $(RENTALS_HOME)/sbom.json

format: $(MAIN) ## rewrite the code in the house's format
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

clean: down ## remove everything that was written, environments included
	@rm -rf .venv .venvs .rentals *.egg-info .mypy_cache .ruff_cache metaflow_card_cache .pytest_cache .hypothesis
	@find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(TMPDIR):
	@mkdir -p "$@" || { echo "cannot write to $(RENTALS_HOME): set RENTALS_HOME to a folder of yours"; exit 1; }

$(MAIN): pyproject.toml constraints.txt | $(TMPDIR)
	@[ -z "$(DATA)" ] || [ -e "$(DATA)" ] || \
	  { echo "data file $(DATA) does not exist: correct DATA, or leave it out for generated ratings"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed, $(PYTHON) is another: make PYTHON=/path/to/python3.11"; exit 1; }
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "Linux on x86-64 is needed, for Triton"; exit 1; }
	@[ "$$(df -Pk . | awk 'NR==2 {print int($$4 / 1e6)}')" -ge $(SETUP_GIGABYTES) ] || \
	  { echo "$(SETUP_GIGABYTES) GB must be free here for the environments: free some space"; exit 1; }
	@echo "installing the main environment (about 3 GB, some minutes) ..."
	@"$(PYTHON)" -m venv .venv
	@$(RUN) $(PIP) setuptools --constraint constraints.txt
	@$(RUN) $(PIP) --no-build-isolation --editable '.[dev]' --constraint constraints.txt
	@touch $@

$(TRITON): serving/triton-requirements.txt | $(TMPDIR)
	@echo "installing Triton's environment (about 0.5 GB) ..."
	@"$(PYTHON)" -m venv .venvs/triton
	@.venvs/triton/bin/python $(PIP) --requirement $<
	@touch $@

$(FEEDBACK): serving/feedback-requirements.txt | $(TMPDIR)
	@echo "installing seldon-core's environment (about 0.3 GB) ..."
	@"$(PYTHON)" -m venv .venvs/feedback
	@.venvs/feedback/bin/python $(PIP) --requirement $<
	@touch $@

$(AUDIT): deploy/audit-requirements.txt | $(TMPDIR)
	@echo "installing the tools that look at dependencies ..."
	@"$(PYTHON)" -m venv .venvs/audit
	@.venvs/audit/bin/python $(PIP) --requirement $<
	@touch $@
