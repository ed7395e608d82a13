"""A project under faults: the real stages on a profile of a few short ones, with DVC and without.

Used by these tests and by `python -m benchmarks faults`, which does many rounds of the same.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from tests.conftest import SITE, TINY, command_of, dvc, made_once, make_project, write_parameters

FAULTS = TINY | {
    "profile": "faults",
    "folders": {name: f"all/{name}" for name in ("teacher", "prune_weights", "prune_channels", "distill", "scratch")},
    "batches": ["all"],
    "matching": {"sswa": TINY["matching"]["sswa"], "naive": TINY["matching"]["naive"]},
    "prune_weights.matchings": ["sswa"],
    "prune_weights.students": {"iterative": {"iterations": 2, "rate": 0.2, "epochs": 2, "snapshots": [0]}},
    "prune_channels.matchings": ["sswa"],
    "prune_channels.students": {},
    "distill.matchings": ["naive", "sswa"],
    "scratch.students": {},
    "attribute.compared": {"students": ["half"], "methods": ["naive", "sswa"]},
    "attribute.methods": {"grad_cam": {"maps": "grad_cam"}, "lrp": {"maps": "lrp", "pairs": 7}},
    "probe.randomization.methods": ["grad_cam"],
}
LAST = "attribute"


@dataclass(frozen=True)
class Victim:
    """An instance of a stage that is disturbed.

    Attributes:
        stage: name of the stage.
        axes: of the instance, as on the command line.
        out: what it makes.
        epochs: that its runs train in all; 0 where it trains nothing.
    """

    stage: str
    axes: dict[str, str]
    out: str
    epochs: int = 0

    @property
    def instance(self) -> str:
        return "@".join(filter(None, (self.stage, "-".join(self.axes.values()))))

    @property
    def arguments(self) -> list[str]:
        return [word for axis, value in self.axes.items() for word in (f"--{axis}", value)]


def _student(stage: str, student: str, matching: str, epochs: int) -> Victim:
    axes = {"student": student, "matching": matching, "group": "all"}
    return Victim(stage, axes, f"models/all/all/{stage}/{student}/{matching}", epochs)


VICTIMS = {
    victim.stage: victim
    for victim in (
        Victim("dataset", {}, "data/dataset"),
        Victim("teacher", {"network": "vgg6_bn", "group": "all"}, "models/all/all/teacher/vgg6_bn", 2),
        _student("prune_weights", "iterative", "sswa", 4),
        _student("distill", "half", "sswa", 2),
        Victim("attribute", {"batch": "all", "group": "all"}, "maps/all/all"),
    )
}


def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after one `dvc repro` of the profile, which all test processes share; not to be changed."""
    return made_once(tmp_path_factory, "reference", lambda folder: Project.made(folder / "project")) / "project"


class Project:
    """A folder with the project in it, under DVC.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def made(cls, root: Path) -> "Project":
        """A new one, in which everything ran once, undisturbed; beside it the folder `accesses`."""
        make_project(root)
        write_parameters(root, FAULTS)
        accesses = root.parent / "accesses"
        accesses.mkdir()
        dvc(root, "init", "-q", "--no-scm")
        ended = cls(root).repro(log=accesses)
        assert ended.code == 0, ended.out + ended.err
        return cls(root)

    @property
    def changes(self) -> dict[str, int]:
        """How many changes of the project's files each stage made when nothing disturbed it."""
        return changes_in(self.root.parent / "accesses")

    def copy(self, root: Path) -> "Project":
        """The same in another folder, with DVC's cache but not with what DVC remembers of runs."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("__pycache__", "tmp", "runs"))
        return Project(root)

    def forget(self, victim: Victim) -> None:
        """As if the victim had never run: neither its output nor its resume state nor its record is there."""
        shutil.rmtree(self.root / victim.out)
        for state in (self.root / ".resume").iterdir():
            if state.name != "stages":
                shutil.rmtree(state)
        recorded = self.lock()
        del recorded["stages"][victim.instance]
        (self.root / "dvc.lock").write_text(format_yaml(recorded))

    def lock(self) -> dict:
        """dvc.lock."""
        return read_yaml(self.root / "dvc.lock")

    def hashes(self) -> dict[str, str]:
        """Hash of everything in dvc.lock, deps and outs, by instance and path."""
        return {
            f"{name}: {entry['path']}": entry["md5"]
            for name, stage in self.lock()["stages"].items()
            for entry in [*stage["deps"], *stage["outs"]]
        }

    def repro(self, fault: str = "none:", victim: Victim | None = None, log: Path | None = None) -> "Ended":
        """`dvc repro`, with a fault in the victim's process."""
        done = dvc(self.root, "repro", LAST, **_variables(fault, victim, log))
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, victim: Victim, fault: str = "none:", log: Path | None = None) -> subprocess.Popen:
        """Start the victim's stage by itself, with a fault."""
        return subprocess.Popen(
            [sys.executable, "-m", *command_of(victim.stage), *victim.arguments],
            cwd=self.root,
            env=os.environ | _variables(fault, victim, log),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, victim: Victim, fault: str = "none:", log: Path | None = None) -> "Ended":
        """The victim's stage by itself, with a fault, to its end."""
        process = self.start(victim, fault, log)
        out, err = process.communicate()
        return Ended(process.returncode, out, err)

    def leftovers(self) -> Iterator[Path]:
        """Files and folders that were to be moved to their places and never were."""
        for pattern in ("*.partial", "*.previous", "holder"):
            yield from self.root.rglob(pattern)


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def in_one_line(self) -> bool:
        """Whether it ended as a foreseen failure does; progress may come before the line."""
        lines = self.err.splitlines()
        return self.code == 2 and ": error: " in (lines or [""])[-1] and "Traceback" not in self.err


def saves(log: Path, victim: Victim) -> int:
    """How many states of unfinished training the victim's processes have written, one after each epoch."""
    lines = (log / victim.stage).read_text().splitlines()
    return sum(line.startswith("moved .resume/") and line.endswith("/state.safetensors") for line in lines)


def _variables(fault: str, victim: Victim | None, log: Path | None) -> dict[str, str]:
    variables = {"PYTHONPATH": str(SITE), "FAULT": fault, "FAULT_STAGE": victim.stage if victim else "*"}
    return variables | ({"FAULT_LOG": str(log)} if log else {})


def changes_in(accesses: Path) -> dict[str, int]:
    """How many changes of the project's files an instance makes undisturbed, by stage, as logs of accesses tell."""
    counts = {}
    for log in accesses.iterdir():
        changes = [line for line in log.read_text().splitlines() if line.startswith("change ")]
        instances = {line for line in changes if line.startswith("change .resume/stages/") and "/holder" in line}
        counts[log.name] = len(changes) // len(instances)
    return counts
