"""Where each network's files lie: one rule for models and maps, by compression, group, method, seed and iteration."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Network:
    """Identity of one trained network.

    Attributes:
        compression: `teacher`, or the name of the stage that compressed it.
        group: group of seeds.
        seed: the run's seed.
        method: matching method; empty for a teacher.
        iteration: pruning iteration from 1; 0 for a teacher.
    """

    compression: str
    group: str
    seed: int
    method: str = ""
    iteration: int = 0

    def below(self, root: Path) -> Path:
        """Path of this network's file below `models` or `maps`."""
        name = f"iteration-{self.iteration:02d}.safetensors" if self.method else "network.safetensors"
        return root / self.compression / self.group / self.method / f"seed-{self.seed}" / name


def teachers(group: str, seeds: list[int]) -> list[Network]:
    """The teachers of a group."""
    return [Network("teacher", group, seed) for seed in seeds]


def pruned(group: str, seeds: list[int], methods: list[str], iterations: int) -> list[Network]:
    """The students of a group, by method, seed and iteration."""
    return [
        Network("prune_weights", group, seed, method, iteration)
        for method in methods
        for seed in seeds
        for iteration in range(1, iterations + 1)
    ]
