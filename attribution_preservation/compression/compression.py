"""Record of a compression: its section of params.yaml, its student, its training plan and its weight constraint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from attribution_preservation.compression.objective import matching_objective
from attribution_preservation.compression.shape import Frame
from attribution_preservation.entries import Entry
from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.models.architecture import Architecture
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import Descent, Optimization
from attribution_preservation.settings import Name, Section


class CompressionSettings(Section):
    """The parameters that every compression has.

    Attributes:
        teacher: name of the network that is compressed, or with which the student's maps are compared.
        students: settings of each student by its name. One stage instance trains one student.
        optimization: the training schedule.
    """

    teacher: Name
    students: Mapping[Name, Any]
    optimization: Descent


class MatchedSettings(CompressionSettings):
    """The parameters of a compression whose students are trained under matching losses.

    Attributes:
        matchings: names of entries of `matching`.
    """

    matchings: list[str]


@dataclass(frozen=True)
class Plan:
    """How one student is trained.

    Attributes:
        schedule: training schedule of each phase.
        iterations: number of phases, each of which begins with a step of the constraint. None if there is one phase,
            whose network has no number.
        snapshots: epochs of a phase after which the network is saved, in addition to the last epoch; 0 is before the
            first epoch. None if the network is saved once, at the end, and its file does not name the epoch.
    """

    schedule: Optimization
    iterations: int | None = None
    snapshots: Sequence[int] | None = None

    @property
    def phases(self) -> range:
        """Numbers of the phases; the random seeds of training depend on them."""
        return range(1) if self.iterations is None else range(1, self.iterations + 1)


class Constraint(Protocol):
    """A rule that a student's weights follow during training: some stay 0, or all have one of a few values."""

    def begin(self, phase: int) -> None:
        """Tighten the constraint before the first epoch of a phase."""

    def apply(self) -> None:
        """Enforce the constraint after every optimiser step."""

    def state(self) -> dict[str, torch.Tensor]:
        """The constraint's tensors by name. A run resumes with them, and they are saved next to the network."""

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load tensors from `state`."""


def like_the_teacher(settings: Any, teacher: Architecture) -> Architecture:
    """The teacher's shape, for a compression that changes no width."""
    return teacher


@dataclass(frozen=True)
class Compression(Entry):
    """One compression method.

    Attributes:
        name: its word in params.yaml, dvc.yaml and results.csv. The random seeds of training are derived from it.
        title: its name in tables, in figures and on the page.
        settings: its section of params.yaml. Students of a subclass of `MatchedSettings` are trained with matching
            losses and a teacher's file; other students are trained alone.
        student: function of the settings of one student, its frame, and a function that reads a copy of the teacher. It
            returns the network to train. Its caller has seeded torch for initial weights.
        plan: function of the section and the settings of one student. It returns the student's training plan.
        shape: function of the settings of one student and its teacher's shape. It returns the student's shape, for
            checks before any run. It raises UserError or ValueError, whose message begins with the wrong setting.
        objective: function of the section, student, teacher and matching settings. It returns the loss.
        constraint: function of the settings of one student and the network. It returns the rule that the weights
            follow. None if there is no rule.
        example: the smallest settings of one student; the contract tests run them.
    """

    noun: ClassVar = "compression"
    list_module: ClassVar = "compressions"
    name: str
    title: str
    settings: type[CompressionSettings]
    student: Callable[[Any, Frame, Callable[[], Network]], Network]
    plan: Callable[[Any, Any], Plan]
    shape: Callable[[Any, Architecture], Architecture] = like_the_teacher
    objective: Callable[[Any, Network, Network, MatchingSettings], nn.Module] = matching_objective
    constraint: Callable[[Any, Network], Constraint] | None = None
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def matched(self) -> bool:
        """Whether its students are trained with matching losses and a teacher's file."""
        return issubclass(self.settings, MatchedSettings)
