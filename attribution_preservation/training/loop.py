"""The training loop of all networks: teachers and compressed networks."""

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from attribution_preservation.data.inputs import Normalize
from attribution_preservation.errors import UserError
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import Optimization
from attribution_preservation.process.progress import Progress
from attribution_preservation.training.answers import Answers, Score
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import Checkpoint
from attribution_preservation.training.compiler import cannot_compile, compiler_failed, try_compiler
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.randomness import derived_seed

_LOOK_EVERY = 10  # steps between two reads of the loss; each read waits for the device


class Trainer:
    """Trains one network, in one or several phases of epochs.

    Args:
        objective: a module with the attribute `student`. Its forward returns the parts of the loss by name and the
            student's `logits`. Its `start_epoch` takes a seed for its own random draws. `differentiates_trunk_twice`
            says whether the loss contains a gradient through the trunk.
        batches: the training images.
        normalize: function from uint8 images to the network's input.
        key: seed and stage, from which all random seeds are derived.
        processes: processes that train together.
        mean_ap: function that scores the student's predictions for training images that may have several classes.
        compiled: whether the trunks are compiled.
        progress: progress of the whole run, counted in images; the caller closes it.
        save: function that is called after every epoch with the state from which the run can resume.
    """

    @torch.inference_mode(False)  # otherwise the student's weights, moved here, could not be trained
    def __init__(
        self,
        objective: nn.Module,
        batches: Batches,
        normalize: Normalize,
        *,
        key: tuple[int | str, ...],
        processes: Processes,
        mean_ap: Score,
        compiled: bool = False,
        progress: Progress,
        save: Callable[[Checkpoint], None],
    ) -> None:
        self.student: nn.Module = objective.student
        # Neither synchronised statistics nor a compiled trunk supports second derivatives.
        if not objective.differentiates_trunk_twice:
            processes.join_normalization(self.student)
            if compiled:
                try_compiler(processes.device)
                compile_trunks(objective)
        self._objective = objective.to(memory_format=torch.channels_last)
        self._batches, self._normalize, self._key = batches, normalize, key
        self._progress, self._save = progress, save
        self._processes, self._fabric, self._mean_ap = processes, processes.fabric, mean_ap
        self.log: list[dict[str, Any]] = []

    @torch.inference_mode(False)  # and gradients are on, even if the caller has switched them off
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
        """Run one phase to its last epoch, with a new optimiser.

        Args:
            optimization: the training schedule.
            phase: number of the phase; the random seeds depend on it.
            start: state of this phase from which to resume.
            note: text that the progress shows before epoch and loss.
            after_step: called after every optimiser step (it sets pruned weights to 0).
            after_epoch: called with the number of finished epochs, before the state is saved.
            masks: returns tensors of the caller that are saved with the state.

        Raises:
            UserError: the loss or a weight is not finite, memory is full, or the network cannot be compiled.
        """
        optimizer = torch.optim.SGD(
            self.student.parameters(),
            lr=optimization.learning_rate,
            momentum=optimization.momentum,
            weight_decay=optimization.weight_decay,
            # One kernel for all weights. It is not faster on a CPU.
            fused=self._processes.device.type == "cuda",
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
            epoch_note = f"{note}epoch {epoch + 1}/{optimization.epochs}"
            with self._batches.watched():
                means = self._epoch(objective, wrapped, (*self._key, phase, epoch), epoch_note, after_step)
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
        epoch_note: str,
        after_step: Callable[[], None],
    ) -> dict[str, float]:
        # Dropout is the same for every matching method, and different in every process.
        rank = self._processes.rank
        torch.manual_seed(derived_seed(*key, "network", *([rank] if rank else [])))
        self._objective.start_epoch(derived_seed(*key, "matching"))
        objective.train()
        sums: dict[str, torch.Tensor] = {}
        answers = Answers(self._processes, self._mean_ap)
        steps, full = self._batches.steps, False
        for step, (images, labels) in enumerate(self._batches.epoch(*key, device=self._processes.device), start=1):
            try:
                with self._processes.arithmetic():
                    parts = objective(self._normalize(images), labels)
                    optimizer.zero_grad(set_to_none=True)
                    self._fabric.backward(parts["loss"])
                    optimizer.step()
            except (RuntimeError, MemoryError) as error:
                if compiler_failed(error) and not memory_is_full(error):
                    raise cannot_compile(error) from None
                if not memory_is_full(error):
                    raise
                full = True  # the failed step's memory is free only outside this clause
            if full:
                count, fits = len(images) * self._processes.count, self._what_fits(optimizer, images, labels)
                raise UserError(
                    f"memory is full with batches of {count} images; halved again and again, {fits} fit: lower "
                    "optimization.batch_size to that, or take smaller images"
                )
            after_step()
            answers.add(parts.pop("logits"), labels)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value.detach()
            if step % _LOOK_EVERY == 0 or step == steps:
                # Loss of all processes, so that all of them stop together.
                mean = float(self._processes.summed(sums["loss"])) / (step * self._processes.count)
                if not math.isfinite(mean):
                    raise UserError(
                        f"the loss is not finite ({mean}) in {'/'.join(map(str, key))}, step {step}; lower "
                        "optimization.learning_rate or the strength under matching"
                    )
                answers.fetch()
                steps_since = (step - 1) % _LOOK_EVERY + 1
                images_since = steps_since * len(images) * self._processes.count
                self._progress.advance(images_since, f"{epoch_note}, loss {mean:.4f}")
        batches = steps * self._processes.count
        means = {name: float(self._processes.summed(value)) / batches for name, value in sums.items()}
        return means | answers.score()

    def _what_fits(self, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> int:
        # Halve the batch until a step fits into memory; 0 if not even one image fits.
        optimizer.zero_grad(set_to_none=True)
        processes, tried = self._processes.count, len(images)
        while tried := tried // 2:
            try:
                with self._processes.arithmetic(), self._fabric.autocast():
                    loss = self._objective(self._normalize(images[:tried]), labels[:tried])["loss"]
                loss.backward()
                break
            except ValueError:  # batch normalisation refuses one image whose map has one cell
                tried = 0
            except (RuntimeError, MemoryError) as error:
                if not memory_is_full(error):
                    raise
        return tried * processes

    def _check_weights(self) -> None:
        # After the last step of an epoch no loss is computed that would show infinite weights.
        finite = {name: torch.isfinite(tensor).all() for name, tensor in self.student.state_dict().items()}
        if torch.stack(list(finite.values())).all():  # one wait for the device, instead of one for each weight
            return
        name = next(name for name, whole in finite.items() if not whole)
        raise UserError(f"training has made {name} infinite or NaN; lower optimization.learning_rate")


def compile_trunks(objective: nn.Module) -> None:
    """Compile the trunks of all networks in a module with TorchInductor. Heads are small and differ by method."""
    for network in objective.modules():
        if isinstance(network, Network):
            network.compile_trunk()


def memory_is_full(error: Exception) -> bool:
    """Whether an error of torch is a failed allocation, on any device."""
    # The CPU's allocator can be recognised only by its message.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


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
