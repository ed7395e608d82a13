"""The one loop that trains everything: teachers and compressed networks."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from attribution_preservation.data.inputs import Normalize
from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.schema.optimization import Optimization
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import Checkpoint
from attribution_preservation.training.randomness import derived_seed

_LOOK_EVERY = 10  # steps between two looks at the loss; each look waits for the device


class Trainer:
    """Trains one network, in one or several phases, from epoch to epoch.

    Args:
        objective: a module with the attribute `student`, whose forward gives the parts of the loss by name and whose
            `start_epoch` takes a seed for its own draws.
        batches: the training images.
        normalize: from uint8 images to the network's input.
        key: seed and stage, from which all randomness is derived.
        device, precision: as Lightning Fabric names them.
        progress: of the whole run, counted in images; the caller closes it.
        save: called after every epoch with the state that resumes there.
    """

    def __init__(
        self,
        objective: nn.Module,
        batches: Batches,
        normalize: Normalize,
        *,
        key: tuple[int | str, ...],
        device: str,
        precision: str,
        progress: Progress,
        save: Callable[[Checkpoint], None],
    ) -> None:
        self._objective = objective.to(memory_format=torch.channels_last)
        self._batches, self._normalize, self._key = batches, normalize, key
        self._progress, self._save = progress, save
        self._fabric = Fabric(accelerator=device, devices=1, precision=precision)
        self.student: nn.Module = objective.student
        self.log: list[dict[str, Any]] = []

    def fit(
        self,
        optimization: Optimization,
        *,
        phase: int = 0,
        start: Checkpoint | None = None,
        note: str = "",
        after_step: Callable[[], None] = lambda: None,
        after_epoch: Callable[[int], None] = lambda epoch: None,
        masks: Callable[[], dict[str, torch.Tensor]] = dict,
    ) -> None:
        """Run one phase, with an optimiser of its own, to its last epoch.

        Args:
            optimization: the schedule.
            phase: number of the phase; enters the randomness.
            start: state to go on from, of this phase.
            note: what the progress shows before epoch and loss.
            after_step: called after every optimiser step (pruned weights go back to 0 there).
            after_epoch: called with the number of epochs done, before the state is saved.
            masks: tensors of the caller's that belong into the state.

        Raises:
            UserError: the loss or a weight is not finite.
        """
        optimizer = torch.optim.SGD(
            self.student.parameters(),
            lr=optimization.learning_rate,
            momentum=optimization.momentum,
            weight_decay=optimization.weight_decay,
        )
        done = 0
        if start is not None:
            self.student.load_state_dict(start.tensors["network"])
            self.log, done = start.log, start.epoch
        objective, wrapped = self._fabric.setup(self._objective, optimizer)
        if start is not None:
            _load_momentum(optimizer, self.student, start.tensors.get("momentum", {}))
        for epoch in range(done, optimization.epochs):
            rate = learning_rate(optimization, epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            shown = f"{note}epoch {epoch + 1}/{optimization.epochs}"
            means = self._epoch(objective, wrapped, (*self._key, phase, epoch), shown, after_step)
            self._check_weights()
            self.log.append({"phase": phase, "epoch": epoch + 1, "learning_rate": rate, **means})
            after_epoch(epoch + 1)
            momentum = _momentum(optimizer, self.student)
            tensors = {"network": self.student.state_dict(), "momentum": momentum, "masks": masks()}
            self._save(Checkpoint(phase, epoch + 1, self.log, tensors))

    def _epoch(
        self,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        key: tuple[int | str, ...],
        shown: str,
        after_step: Callable[[], None],
    ) -> dict[str, float]:
        torch.manual_seed(derived_seed(*key, "network"))  # dropout, the same under every method of matching
        self._objective.start_epoch(derived_seed(*key, "matching"))
        objective.train()
        sums: dict[str, torch.Tensor] = {}
        steps = self._batches.steps
        for step, (images, labels) in enumerate(self._batches.epoch(*key), start=1):
            images, labels = self._fabric.to_device((images, labels))
            parts = objective(self._normalize(images), labels)
            optimizer.zero_grad(set_to_none=True)
            self._fabric.backward(parts["loss"])
            optimizer.step()
            after_step()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value.detach()
            if step % _LOOK_EVERY == 0 or step == steps:
                mean = float(sums["loss"]) / step
                if not torch.isfinite(sums["loss"]):
                    raise UserError(
                        f"the loss is not finite ({mean}) in {'/'.join(map(str, key))}, step {step}; lower "
                        "optimization.learning_rate or the strength under matching"
                    )
                steps_since = (step - 1) % _LOOK_EVERY + 1
                self._progress.advance(steps_since * len(images), f"{shown}, loss {mean:.4f}")
        return {name: float(value) / steps for name, value in sums.items()}

    def _check_weights(self) -> None:
        # The last step of an epoch has no loss after it that would show what it did.
        for name, tensor in self.student.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise UserError(f"training has made {name} infinite or NaN; lower optimization.learning_rate")


def learning_rate(optimization: Optimization, epoch: int) -> float:
    """Learning rate of an epoch (from 0): multiplied by gamma at each milestone that has been reached."""
    reached = bisect_right(sorted(optimization.milestones), epoch)
    return optimization.learning_rate * optimization.gamma**reached


def _momentum(optimizer: torch.optim.Optimizer, student: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in student.named_parameters()
        if optimizer.state[parameter].get("momentum_buffer") is not None
    }


def _load_momentum(optimizer: torch.optim.Optimizer, student: nn.Module, momentum: dict[str, torch.Tensor]) -> None:
    for name, parameter in student.named_parameters():
        if name in momentum:
            stored = momentum[name].to(parameter.device)
            optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(stored)
