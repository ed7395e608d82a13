"""Runs of training stages, from the parameters to the finished files."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from attribution_preservation.data.framing import Framing, Input
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.store import Images, Store
from attribution_preservation.models.network import Network
from attribution_preservation.models.network_files import load_network, save_network
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.resume import ResumeFolder, fingerprint, resume_folder
from attribution_preservation.process.jobs import each
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.files import atomic_directory, write_text
from attribution_preservation.storage.identity import Identity, masks_beside
from attribution_preservation.storage.tensors import write_tensors
from attribution_preservation.training.answers import Score
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from attribution_preservation.training.log import log_csv
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.randomness import derived_seed
from attribution_preservation.training.runtime import Device, set_up
from attribution_preservation.training.runtime_settings import Runtime


@dataclass(frozen=True)
class Run:
    """One run of a stage: the network that it trains, and its inputs.

    Attributes:
        identity: identity of its (last) network.
        below: its folder in the stage's output.
        teacher: file of its teacher; None if it has none.
        settings: the stage's parameters that belong to this run, not to other runs of the instance.
        inputs: for dependencies with files of several runs, the files that this run reads, including the teacher's
            folder.
    """

    identity: Identity
    below: Path
    teacher: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[Path, list[Path]] = field(default_factory=dict)


@dataclass
class TrainingRun:
    """A running run: its parameters, its resume state and its results."""

    stage: Stage
    run: Run
    folder: ResumeFolder
    runtime: Runtime
    device: Device
    processes: Processes
    mean_ap: Score

    def __post_init__(self) -> None:
        self.start, self._saved = load_checkpoint(self.folder.state), monotonic()
        self._show(self.start.log if self.start else [])
        self.input = self.stage.section("input", Input)
        self.store = Store(self.stage.dep(Path("data/dataset")))

    def teacher(self) -> Network:
        """The run's teacher, freshly read."""
        if self.run.teacher is None:
            raise ValueError("this run has no teacher")
        return load_network(self.run.teacher)[0]

    def seed_initial(self) -> None:
        """Seed torch for a network's initial weights, which so are the same under every method."""
        torch.manual_seed(derived_seed(self.run.identity.seed, self.stage.name, "initial"))

    def trainer(
        self,
        objective: nn.Module,
        schedule: Optimization,
        phases: int = 1,
        images: Images | None = None,
        size: int | None = None,
    ) -> Trainer:
        """The trainer of this run, which shows its progress over all phases of one schedule.

        Args:
            objective, schedule: what it learns, and how.
            phases: how often the schedule is run.
            images: the data set, where it is not the packed one.
            size: side of the network's square input, where it is not that of all others; images are squeezed to it.
        """
        framing = Framing(size=size) if size else self.input
        batches = Batches(images or self.store, framing, schedule, self.runtime.workers, self.processes.share)
        done = (max(self.start.phase, 1) - 1) * schedule.epochs + self.start.epoch if self.start else 0
        identity = self.run.identity
        words = [self.stage.name, identity.student, identity.method, f"seed {identity.seed}"]
        label = ", ".join(word for word in words if word)
        self._progress = Progress((phases * schedule.epochs - done) * batches.images, label)
        return Trainer(
            objective,
            batches,
            Normalize(self.input.mean, self.input.std),
            key=(identity.seed, self.stage.name),  # without the method: all methods see the same batches
            processes=self.processes,
            mean_ap=self.mean_ap,
            compiled=self.runtime.compile,
            progress=self._progress,
            save=self._save,
        )

    def fit_once(self, objective: nn.Module, schedule: Optimization) -> None:
        """Train the objective's student over one schedule and keep it as it then is: the whole of a simple run."""
        trainer = self.trainer(objective, schedule)
        trainer.fit(schedule, start=self.start)
        self.keep(trainer.student)
        self.finish(trainer)

    def keep_as_it_is(self, network: Network) -> None:
        """Keep a network that needs no training: the whole of such a run."""
        self.keep(network)
        if self.writes:
            self.folder.finish()

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes the run's files."""
        return self.processes.leads

    def _save(self, checkpoint: Checkpoint) -> None:
        # A state takes half a second of a large network's training, and a GPU's epoch may take no longer.
        if self.writes and monotonic() - self._saved >= self.runtime.checkpoint_seconds:
            save_checkpoint(checkpoint, self.folder.state)
            self._saved = monotonic()
        self._show(checkpoint.log)

    def _show(self, log: list[dict[str, Any]]) -> None:
        """Let people see the log so far: in a file that no stage reads, and that a run without an epoch has not."""
        if not self.writes:
            return
        path = live_file(self.stage, self.run)
        if log:
            write_text(path, log_csv(log))
        else:
            path.unlink(missing_ok=True)

    def keep(
        self,
        network: Network,
        iteration: int = 0,
        epoch: int | None = None,
        masks: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Write a network into the run's results, and the masks of its weights into a file next to it."""
        identity = replace(self.run.identity, iteration=iteration, epoch=epoch)
        if not self.writes:
            return
        path = self.folder.work / identity.file_name
        save_network(network, path, identity.as_dict())
        if masks:
            write_tensors(masks_beside(path), masks, {"identity": identity.as_dict()})

    def finish(self, trainer: Trainer) -> None:
        """Write the record of training and mark the run as complete."""
        self._progress.close()
        if self.writes:
            write_text(self.folder.work / "log.csv", log_csv(trainer.log))
            self.folder.finish()


def live_file(stage: Stage, run: Run) -> Path:
    """File of a running run's log: live/STAGE/STUDENT/METHOD/seed-N.csv. Parts that the run does not have are left out.

    For a teacher, STUDENT is the network's name. Retrainings of roar have their own folders above their number.
    """
    which = [value for axis, value in stage.axes.items() if axis in ("network", "student")]
    return Path("live", stage.name, *which, run.below.parent, f"{run.below.name}.csv")


def train_all(
    stage: Stage,
    runs: Iterable[Run],
    train: Callable[[TrainingRun], None],
    mean_ap: Score,
    together: Callable[[Run], Hashable] = lambda run: run.below,
) -> None:
    """Do all unfinished runs, and put all results into the stage's output.

    Args:
        stage: the instance.
        runs: the runs of the instance.
        train: does or resumes one run; it ends with `TrainingRun.finish` or `TrainingRun.fit_once`.
        mean_ap: metric for the log of training; the training package does not import metrics.
        together: key of a run. Neighbouring runs with equal keys are done by one process, one after another, because
            `train` keeps data from one run to the next.
    """
    runtime = stage.section("runtime", Runtime)
    device = set_up(runtime)
    processes = Processes(runtime, device.torch)

    def key(run: Run) -> str:
        # The folder of teachers is a dependency; a run reads one of them.
        inputs = run.inputs | ({run.teacher.parents[1]: [run.teacher]} if run.teacher else {})
        return fingerprint(stage, run.identity.seed, run.settings, inputs, device.versions)

    def do(keyed: list[tuple[Run, str]]) -> list[tuple[Path, ResumeFolder]]:
        results = []
        for run, of_run in keyed:
            with resume_folder(of_run) as folder:
                if not processes.agreed(folder.complete):
                    here = replace(device, torch=processes.device)
                    train(TrainingRun(stage, run, folder, runtime, here, processes, mean_ap))
                results.append((run.below, folder))
        return results

    pieces = [partial(do, [(run, key(run)) for run in members]) for _, members in groupby(runs, key=together)]
    results = each(pieces, device.jobs)
    if not processes.leads:
        return
    with atomic_directory(stage.only_out) as finished:
        for below, folder in (result for of_piece in results for result in of_piece):
            folder.deliver(finished / below)
