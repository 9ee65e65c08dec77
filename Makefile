# `make demo` and `make test` are all that a fresh clone needs: what the machine lacks, .ci/install installs.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build demo test judges browser interop bench bench-peers doc pictures gallery fmt clean

# windfield as it is called here: built when its sources have changed.
WINDFIELD := cargo run --quiet --release --
# Prints the folder in which cargo builds.
TARGET := cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-11s %s\n' "$$name" "$$text"; done

build: ## builds the program: target/release/windfield
	cargo build --release

demo: ## trains on the checkerboard and samples 100 000 points, into ./demo
	@.ci/install demo
	cargo build --release
	rm -rf demo
	$(WINDFIELD) train --data checkerboard --hidden 128,128,128,128 --activation gelu --steps 10000 --lr 4e-3 --seed 1 --out demo
	$(WINDFIELD) sample demo/model.safetensors -n 100000 --seed 1 --out demo/samples.npy

test: ## format, lints, all tests, documentation, judges; on lavapipe, the kernels on SwiftShader too
	@.ci/install test
	@.ci/stage format cargo fmt --check
	@.ci/stage lints cargo clippy --all-targets -- -D warnings
	@.ci/stage 'tests on lavapipe' .ci/on lavapipe cargo test --no-fail-fast
	@RUSTDOCFLAGS=-Dwarnings .ci/stage documentation cargo doc --no-deps
	@.ci/stage judges tests/judges/run cargo run --quiet --
	@.ci/stage 'pages in a browser' .ci/on lavapipe tests/browser/run cargo run --quiet --
	@.ci/stage 'kernels on SwiftShader' .ci/on swiftshader cargo test --test kernels

judges: ## translates every kernel and has it judged by spirv-val, glslang and Tint
	@.ci/install test
	tests/judges/run cargo run --quiet --

browser: ## exports pages and goes through them in Chromium
	@.ci/install test
	.ci/on lavapipe tests/browser/run cargo run --quiet --

interop: ## exchanges models, fields, tables and histories with PyTorch, onnxruntime, pandas, installed under target/interop
	@.ci/install interop
	cargo build --release
	python3 tests/interop/pytorch.py "$$($(TARGET))/release/windfield"

bench: ## measures how fast this device is, and how near to its own peak
	cargo build --release
	$(WINDFIELD) bench

bench-peers: ## measures PyTorch, JAX and burn at the same work, installed under target/peers; PEERS='--threads 2'
	@.ci/install peers
	cargo build --release
	python3 benches/peers/run.py "$$($(TARGET))/release/windfield" $(PEERS)

doc: ## builds the library's documentation and the guide: target/doc/windfield
	cargo doc --no-deps
	cp -R docs/pictures docs/gallery "$$($(TARGET))/doc/windfield/guide/"

pictures: ## draws the pictures of docs/ by running the guide's commands on lavapipe
	@.ci/install demo
	WINDFIELD_DRAW=1 .ci/on lavapipe cargo test --test docs pictures_are_drawn

gallery: ## draws the pictures of docs/gallery.md by running its commands on lavapipe
	@.ci/install demo
	cargo build --release
	rm -rf target/gallery && mkdir -p target/gallery
	sed -n '/^```bash$$/,/^```$$/{/^```/!p}' docs/gallery.md > target/gallery/commands
	cd target/gallery && PATH="$$($(TARGET))/release:$$PATH" $(CURDIR)/.ci/on lavapipe bash -euxo pipefail commands
	cp target/gallery/*.png target/gallery/*.gif docs/gallery/

fmt: ## formats the sources
	cargo fmt

clean: ## removes what was built and the demonstration
	cargo clean
	rm -rf demo tests/judges/node_modules tests/browser/node_modules
