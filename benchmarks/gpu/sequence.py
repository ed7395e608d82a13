"""`python -m benchmarks gpu --out FOLDER [--minutes 9] [--voc FILE]`: each step's JSON as soon as it is there."""

import argparse
import gc
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from attribution_preservation.errors import UserError
from attribution_preservation.process.streams import tell
from attribution_preservation.training.runtime import set_up
from benchmarks.gpu import correctness, real, speed
from benchmarks.gpu.machine import Machine, TimeIsUp, at_most, check_torch
from benchmarks.gpu.speed import profile_runtime
from benchmarks.measurement import Figure, Report


@dataclass(frozen=True)
class Step:
    """One part of the command.

    Attributes:
        seconds: that it needs before it says anything; with less left it is not begun.
        figures: measures, one figure after the other.
    """

    seconds: float
    figures: Callable[[Machine], Iterator[Figure]]


# The most valuable first. Their files are named as those of the benchmarks whose figures they hold.
STEPS = {
    "correctness": Step(20, correctness.figures),
    "matching": Step(20, speed.matching),
    "training": Step(20, speed.training),
    "loader": Step(20, speed.loader),
    "real": Step(30, real.figures),
}


def main(words: list[str]) -> None:
    """Do what is not done yet, as far as the time goes; exit with 1 where a target is missed or a step failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; what is there is done")
    parser.add_argument("--minutes", type=float, default=9.0, help="when to have ended (default: 9)")
    parser.add_argument("--voc", type=Path, help="a VOC folder or archive, for an epoch on real photographs")
    arguments = parser.parse_args(words)
    try:
        check_torch()
        if not 0 < arguments.minutes <= 24 * 60:
            raise UserError(f"--minutes: {arguments.minutes:g} is no time; from 0 to {24 * 60}")
        if arguments.voc is not None and not arguments.voc.exists():
            raise UserError(f"--voc: {arguments.voc} is missing")
        arguments.out.mkdir(parents=True, exist_ok=True)
    except (UserError, OSError) as error:
        raise SystemExit(f"benchmarks gpu: {error}") from None
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)  # it tells every precision
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        try:
            set_up(profile_runtime("cuda"))
        except UserError as error:  # with torch's reason
            tell(f"benchmarks gpu: {error}; everything runs on the CPU at toy size")
    machine = Machine(device, time.monotonic() + 60 * arguments.minutes, arguments.out, arguments.voc)
    well = [do(name, machine) for name in STEPS]
    sys.exit(0 if all(well) else 1)


def do(name: str, machine: Machine) -> bool:
    """One step, unless its file is there; whether it is done and reached its targets."""
    stem = machine.out / f"{name}-{'cpu' if machine.toy else 'gpu'}"
    whole, part, failure = (stem.with_name(f"{stem.name}{end}") for end in (".json", ".part.json", ".error.txt"))
    if whole.exists():
        return _done_before(name, machine, whole)
    if machine.left < STEPS[name].seconds:
        tell(f"{name}: not begun, {max(machine.left, 0):.0f} s are left; the same command goes on here")
        return False
    # What an earlier start has measured stays until this one has measured it.
    figures = {figure.name: figure for figure in _read(part)[1]} if part.exists() else {}
    try:
        with at_most(machine.left):
            for figure in STEPS[name].figures(machine):
                figures[figure.name] = figure
                _write(Report(name, list(figures.values()), machine.name), part)
                tell(f"{name}: {Report(name, [figure]).text()}")
    except TimeIsUp:
        tell(f"{name}: time is up after {len(figures)} figures, which are in {part}; the same command begins it anew")
        return False
    except UserError as error:
        tell(f"{name}: {error}")
        return False
    except Exception as error:  # whatever a driver, a kernel or a library has to say: the next step may do
        failure.write_text(traceback.format_exc(), encoding="utf-8")
        words = str(error).strip().splitlines() or [type(error).__name__]
        tell(f"{name}: failed ({type(error).__name__}: {words[0]}); see {failure}")
        return False
    finally:
        # The next step's processes find the memory free.
        gc.collect()
        if not machine.toy:
            torch.cuda.empty_cache()
    if part.exists():
        part.replace(whole)
    return not any(figure.missed for figure in figures.values())


def _done_before(name: str, machine: Machine, whole: Path) -> bool:
    device, figures = _read(whole)
    if device != machine.name:
        tell(f"{name}: {whole} is of another device ({device}); take another folder")
        return False
    missed = [figure for figure in figures if figure.missed]
    tell(f"{name}: done before, see {whole}" + (f"; {len(missed)} targets MISSED" if missed else ""))
    return not missed


def _read(path: Path) -> tuple[str, list[Figure]]:
    """Device and figures of a report."""
    report = json.loads(path.read_text(encoding="utf-8"))
    return report["device"], [Figure(**figure) for figure in report["figures"]]


def _write(report: Report, path: Path) -> None:
    """Whole or not at all: the clock may end this process at any line."""
    partial = path.with_name(f".{path.name}")
    report.write(partial)
    partial.replace(path)
