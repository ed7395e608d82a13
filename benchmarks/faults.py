"""Many rounds of tests/faults: kills, full disks and malformed inputs, and two whole runs that must be one.

Every round starts from the same undisturbed run, disturbs one stage several times, lets DVC finish, and compares every
hash in dvc.lock. What is drawn is drawn from one fixed seed.
"""

import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from attribution_preservation.process.streams import tell
from benchmarks.measurement import Figure
from tests.conftest import ELSEWHERE, dvc, make_project, run_all
from tests.faults.harness import VICTIMS, Project, Victim, saves
from tests.faults.malformed import cases, outcome

_ROUNDS, _DISKS = 30, 24
_KILLED = (-signal.SIGKILL, -signal.SIGXFSZ)
# What ends a process in one round, in this order; those of a run that trains nothing have no state to cut off.
_KINDS = (("kill", "later"), ("later", "cut"), ("orphan", "kill"), ("later", "kill"))


def measure() -> list[Figure]:
    """All of it, in temporary folders."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        reference = Project.made(root / "reference" / "project")
        figures = [*_kills(reference, root), *_disks(reference, root), *_malformed(root), *_repeats(root)]
    return [*figures, Figure("faults_duration", (time.monotonic() - start) / 60, "min", "lower")]


def _kills(reference: Project, root: Path) -> list[Figure]:
    draw, count = np.random.default_rng(0), Counter[str]()
    again = 0
    rounds = zip(range(_ROUNDS), itertools.cycle(VICTIMS.values()), strict=False)
    for number, victim in rounds:
        project, log = reference.copy(root / "project"), root / "log"
        log.mkdir()
        project.forget(victim)
        killed = 0
        for kind in _KINDS[number % len(_KINDS)]:
            ended = _disturbed(project, victim, kind, reference.changes[victim.stage], draw, log)
            killed += ended
            count[kind] += ended
        again += max(0, _finish(project, reference, victim, log, count) - killed)
        shutil.rmtree(log)
        _say(f"kills: round {number + 1} of {_ROUNDS}, {victim.instance}, {dict(count)}")
    kinds = ("kill", "later", "cut", "orphan")
    return [
        Figure("faults_kills", sum(count[kind] for kind in kinds), "kills", "higher", 50),
        Figure("faults_kills_at_a_moment_drawn", count["later"], "kills", "higher"),
        Figure("faults_kills_within_a_write", count["cut"], "kills", "higher"),
        Figure("faults_kills_of_dvc", count["orphan"], "kills", "higher"),
        Figure("faults_epochs_lost_beyond_one_per_kill", again, "epochs", "lower", 0),
        Figure("faults_wrong_hashes", count["wrong"], "hashes", "lower", 0),
        Figure("faults_lost_artifacts", count["lost"], "files", "lower", 0),
    ]


def _disturbed(project: Project, victim: Victim, kind: str, changes: int, draw: np.random.Generator, log: Path) -> bool:
    """Whether the process was killed; where it had little left to do, it may have come to its end before."""
    if kind == "orphan":
        return project.repro(f"orphan:{draw.integers(0, changes // 2)}", victim, log).code == -signal.SIGKILL
    if kind == "cut" and victim.epochs:
        return project.run(victim, f"cut:{draw.integers(20_000, 200_000)}", log).code in _KILLED
    fault = f"later:{draw.uniform(0.5, 6):.2f}" if kind == "later" else f"kill:{draw.integers(1, changes + 1)}"
    return project.run(victim, fault, log).code in _KILLED


def _finish(project: Project, reference: Project, victim: Victim, log: Path, count: Counter[str]) -> int:
    """Let DVC finish, compare, remove the project; how many epochs were trained more often than once."""
    done = project.repro(victim=victim, log=log)
    if done.code:
        raise SystemExit(f"dvc repro failed after a fault: {done.out}{done.err}")
    actual, expected = project.hashes(), reference.hashes()
    count["wrong"] += sum(actual.get(name) != md5 for name, md5 in expected.items()) + len(actual.keys() - expected)
    files = {path.relative_to(reference.root) for path in (reference.root / victim.out).rglob("*")}
    count["lost"] += sum(not (project.root / file).exists() for file in files) + len(list(project.leftovers()))
    shutil.rmtree(project.root)
    return max(0, saves(log, victim) - victim.epochs) if victim.epochs else 0


def _disks(reference: Project, root: Path) -> list[Figure]:
    draw, count = np.random.default_rng(1), Counter[str]()
    full = lines = 0
    for number, victim in zip(itertools.count(), itertools.cycle(VICTIMS.values()), strict=False):
        if full >= _DISKS:
            break
        project, log = reference.copy(root / "project"), root / "log"
        log.mkdir()
        project.forget(victim)
        for _ in range(2):
            ended = project.run(victim, f"full:{draw.integers(1, reference.changes[victim.stage] + 1)}")
            full += ended.code != 0
            lines += ended.in_one_line and "no space left" in ended.err
        _finish(project, reference, victim, log, count)
        shutil.rmtree(log)
        _say(f"full disks: round {number + 1}, {victim.instance}, {full} of {_DISKS}")
    return [
        Figure("faults_full_disks", full, "disks", "higher", 20),
        Figure("faults_full_disks_not_told_in_a_line", full - lines, "disks", "lower", 0),
        Figure("faults_full_disks_wrong_hashes", count["wrong"], "hashes", "lower", 0),
        Figure("faults_full_disks_lost_artifacts", count["lost"], "files", "lower", 0),
    ]


def _malformed(root: Path) -> list[Figure]:
    project = make_project(root / "finished" / "project")
    run_all(project)
    count = Counter[str]()
    for case in cases():
        case_outcome = outcome(case, project, root)
        count[case_outcome.kind] += 1
        if case_outcome.kind in ("traceback", "hang"):
            _say(f"malformed: {case.name}: {case_outcome.kind}: {case_outcome.message}")
    _say(f"malformed: {dict(count)}")
    return [
        Figure("faults_malformed_inputs", count.total(), "inputs", "higher", 200),
        Figure("faults_malformed_tracebacks", count["traceback"], "inputs", "lower", 0),
        Figure("faults_malformed_hangs", count["hang"], "inputs", "lower", 0),
        # A flipped bit in a pixel or a weight is another pixel or weight: DVC's hashes tell, no reader can.
        Figure("faults_malformed_accepted", count["accepted"], "inputs", "lower"),
    ]


def _repeats(root: Path) -> list[Figure]:
    """Two fresh clones, two runs of smoke; the second on what looks like another machine, and in another order."""
    hashes = []
    for name, variables, first in (("one", {}, []), ("two", ELSEWHERE, ["distill", "prune_weights"])):
        clone = root / name
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        (clone / "dvc.lock").unlink(missing_ok=True)
        shutil.copyfile(clone / "params" / "smoke.yaml", clone / "params.yaml")
        for targets in ([first] if first else []) + [[]]:
            done = dvc(clone, "repro", *targets, **variables)
            if done.returncode:
                raise SystemExit(f"dvc repro failed: {done.stdout}{done.stderr}")
        hashes.append(Project(clone).hashes())
        _say(f"repeatability: clone {name}, {len(hashes[-1])} hashes")
    one, two = hashes
    return [
        Figure("faults_repeated_hashes", len(one), "hashes", "higher"),
        Figure(
            "faults_repeated_hashes_unlike",
            sum(one.get(name) != two.get(name) for name in one.keys() | two.keys()),
            "hashes",
            "lower",
            0,
        ),
    ]


def _say(line: str) -> None:
    tell(line, sys.stderr)
