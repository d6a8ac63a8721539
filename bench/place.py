"""Where the benchmark keeps what it installs and makes: outside of the checkout, in `$LAKE_BENCH_HOME`."""

import os

BENCH = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(BENCH)
HOME = os.environ.get("LAKE_BENCH_HOME") or os.path.expanduser("~/.cache/lake/bench")
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.expanduser("~/.cache/lake/target")

PYTHON = f"{HOME}/venv/bin/python"
DATA = f"{HOME}/data"
JARS = f"{HOME}/jars"
OUT = f"{HOME}/out"
LOGS = f"{HOME}/logs"
RESULTS = f"{HOME}/results"
