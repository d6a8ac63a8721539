# Recipes for people; CI calls .ci/run, which does the same.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", home_directory() / ".cache/lake/target")

# List the recipes.
default:
    @just --list

# Run the quickstart.
quickstart:
    cargo run --release -- run pipelines/quickstart.yaml

# All tests: units, contracts, and end to end with real readers.
test:
    cargo test --workspace --locked

# All tests at the sizes that the promises name: 1,600 runs of eight processes, 5 GB under 512 MiB, 10,000 small writes. Takes an hour or two.
test-full:
    LAKE_TEST_FULL=1 cargo test --workspace --locked -- --nocapture

# What CI checks besides the tests.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Everything CI runs.
ci:
    .ci/run

# Write the quickstart's data anew; its generator is deterministic.
data:
    python3 tests/python/generate_quickstart.py

# `lake` beside other tools on one workload, verified; `bench/README.md` says what the arguments are.
bench *arguments:
    bench/run {{arguments}}
