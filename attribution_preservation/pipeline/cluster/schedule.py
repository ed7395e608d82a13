"""Order of the stages of a graph that several workers run, any of which may fail."""

from collections.abc import Collection, Mapping


class Schedule:
    """The state of every stage of a graph.

    Args:
        needs: dependencies by stage, in the order in which DVC would run the stages.
        finished: stages that are up to date.
    """

    def __init__(self, needs: Mapping[str, Collection[str]], finished: Collection[str] = ()) -> None:
        self._needs = {stage: frozenset(needed) for stage, needed in needs.items()}
        self.done = set(finished)
        self.running: set[str] = set()
        self.failed: set[str] = set()
        self.left_out: set[str] = set()

    @property
    def ready(self) -> list[str]:
        """Stages that can start now, in order."""
        started = self.done | self.running | self.failed | self.left_out
        return [stage for stage, needed in self._needs.items() if stage not in started and needed <= self.done]

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing can start."""
        return not self.running and not self.ready

    @property
    def total(self) -> int:
        """Number of stages."""
        return len(self._needs)

    def start(self, stage: str) -> None:
        """Record that a worker has started a stage."""
        self.running.add(stage)

    def give_back(self, stage: str) -> None:
        """Record that the stage's worker is lost; the stage can start again."""
        self.running.remove(stage)

    def end(self, stage: str) -> None:
        """Record that a stage is finished."""
        self.running.remove(stage)
        self.done.add(stage)

    def fail(self, stage: str) -> None:
        """Record that a stage has failed. Stages that depend on it are left out; all others continue."""
        self.running.remove(stage)
        self.failed.add(stage)
        for other, needed in self._needs.items():  # in order, so that a stage comes after its dependencies
            if needed & (self.failed | self.left_out) and other not in self.failed:
                self.left_out.add(other)
