"""Run one benchmark and write its figures: `python -m benchmarks NAME [--json OUT]`."""

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import torch

from attribution_preservation.errors import UserError
from attribution_preservation.process.streams import prepare_streams, tell
from benchmarks.measurement import Report

NAMES = (
    "pipeline", "matching", "training", "loader", "imagenet", "cluster", "deploy", "attribution", "localization",
    "faults", "page",
)  # fmt: skip
# Those that use a GPU where there is one.
ON_DEVICE = ("matching", "training", "loader", "imagenet")


def main() -> None:
    """Run a benchmark; exit with 1 if a target is missed."""
    prepare_streams()
    if sys.argv[1:2] == ["gpu"]:
        importlib.import_module("benchmarks.gpu.sequence").main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    try:
        figures = importlib.import_module(f"benchmarks.{arguments.name}").measure()
    except UserError as error:
        raise SystemExit(f"benchmarks {arguments.name}: {error}") from None
    report = Report(arguments.name, figures)
    if arguments.name in ON_DEVICE and torch.cuda.is_available():
        report = replace(report, device=torch.cuda.get_device_name())
    tell(report.text())
    if arguments.json:
        report.write(arguments.json)
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
