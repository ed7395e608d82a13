"""Which stage can run when: a graph worked through by several workers, of whom any may fail."""

from collections.abc import Collection, Mapping


class Schedule:
    """The state of every stage of a graph.

    Args:
        needs: by stage, in the order in which DVC would run them, the stages that it depends on.
        finished: those that have nothing to do.
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
        """A worker has taken a stage up."""
        self.running.add(stage)

    def give_back(self, stage: str) -> None:
        """Its worker is gone; the stage can start again."""
        self.running.remove(stage)

    def end(self, stage: str) -> None:
        """A stage is done."""
        self.running.remove(stage)
        self.done.add(stage)

    def fail(self, stage: str) -> None:
        """A stage has failed; what depends on it is left out, everything else goes on."""
        self.running.remove(stage)
        self.failed.add(stage)
        for other, needed in self._needs.items():  # in order, so that what a stage needs comes before it
            if needed & (self.failed | self.left_out) and other not in self.failed:
                self.left_out.add(other)
