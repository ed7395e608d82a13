"""The record of a compression: its section of params.yaml, its student, the plan and the constraint of training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.compression.shape import Frame
from attribution_preservation.entries import load
from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.models.architectures import Architecture
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import Descent, Optimization
from attribution_preservation.settings import Name, Section

PACKAGE = "attribution_preservation.compression"


class CompressionSettings(Section):
    """The parameters that every compression has.

    Attributes:
        teacher: name of the network that is compressed, or with which the student's maps are compared.
        students: by name, how far or into what; one stage instance trains one of them.
        optimization: the schedule of training.
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
        schedule: of each phase.
        iterations: number of phases, each of which begins with a step of the constraint; None where there is one
            phase, whose network has no number.
        snapshots: epochs of a phase after which the network is saved, in addition to its last; 0 is before the first.
            None where the network is saved once, at the end, and its file does not name the epoch.
    """

    schedule: Optimization
    iterations: int | None = None
    snapshots: Sequence[int] | None = None

    @property
    def phases(self) -> range:
        """Numbers of the phases; they enter the randomness of training."""
        return range(1) if self.iterations is None else range(1, self.iterations + 1)


class Constraint(Protocol):
    """A rule that a student's weights follow during training: some stay 0, or all have one of a few values."""

    def begin(self, phase: int) -> None:
        """Tighten it, before the first epoch of a phase."""

    def apply(self) -> None:
        """Enforce it, after every optimiser step."""

    def state(self) -> dict[str, torch.Tensor]:
        """Its tensors by name. A run resumes with them, and they are saved next to the network."""

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over tensors from `state`."""


def like_the_teacher(settings: Any, teacher: Architecture) -> Architecture:
    """The teacher's own shape: of a compression that changes no width."""
    return teacher


def matching_objective(section: Any, student: Network, teacher: Network, matching: MatchingSettings) -> nn.Module:
    """The task's loss and the matching loss, without the logits of the teacher."""
    return CompressionObjective(student, teacher, matching)


@dataclass(frozen=True)
class Compression:
    """One way of compressing.

    Attributes:
        name: its word in params.yaml, dvc.yaml and results.csv; randomness of training is derived from it.
        title: its name in tables, in figures and on the page.
        settings: its section of params.yaml. A subclass of `MatchedSettings` is trained under matching losses from a
            teacher's file; another `CompressionSettings` is trained alone.
        student: from the settings of one student, its frame, and a function that reads a copy of the teacher, to the
            network that is trained. Its caller has seeded torch for initial weights.
        plan: from the section and the settings of one student to its training.
        shape: from the settings of one student and its teacher's shape to the student's; for checks before any run.
            Raises UserError or ValueError, whose message begins with the setting that is wrong.
        objective: from the section, student, teacher and matching settings to the loss.
        constraint: from the settings of one student and the network to the rule that its weights follow; None where
            there is no rule.
        example: the smallest settings of one student; the contract tests run them.
    """

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
        """Whether it is trained under matching losses, from a teacher's file."""
        return issubclass(self.settings, MatchedSettings)


def compression_of(name: str) -> Compression:
    """The compression of a name.

    Raises:
        ValueError: there is none.
    """
    compression = load(PACKAGE, name, Compression)
    if compression is None:
        raise ValueError(f"there is no compression {name}")
    return compression
