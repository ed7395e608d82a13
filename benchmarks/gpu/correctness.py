"""Does the GPU compute what the CPU does: losses, gradients, maps, networks after an epoch, to the last byte twice.

The CPU's float64 is the truth. How far an arithmetic may be from it depends on the loss: some differentiate twice, and
divide by what is nearly zero. So the CPU computes in the same arithmetic as well, and a GPU may be a few times as far,
up to a cap that an empty gradient exceeds. The network is shallow: with random weights the float32 gradients of VGG16
have an error of 1% on every device, and a comparison finds nothing.
"""

import copy
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attribution_preservation.attribution.extraction import Attribute
from attribution_preservation.attribution.method import Attribution, Method
from attribution_preservation.attribution.randomization import cascade
from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.compression.weight_pruning import WeightMasks
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.matching.loss import MatchingSettings, settings_of
from attribution_preservation.matching.variants import ENTRY, methods_of
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime import set_up
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.speed import profile_runtime
from benchmarks.measurement import Figure
from benchmarks.photographs import Photographs
from benchmarks.training import schedule

CLASSES, BATCH = 5, 8
# How many times the CPU's own error a GPU may make, by arithmetic; its sums are ordered otherwise.
TIMES = {"32-true": 10.0, "bf16-mixed": 2.0}
LEAST = {"32-true": 1e-6, "bf16-mixed": 2.0**-8}  # of one number: below it an error is chance
MOST = {"32-true": 1e-2, "bf16-mixed": 0.9}
CONTINUED = 1e-3
# The smallest settings of the methods that search: their searches part where rounding does.
_FEW = {"masks": 16, "steps": 2, "samples": 1, "references": 8}


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        profile: whose losses and attribution methods.
        architecture, divisor, size: of its networks, and the side of their input.
    """

    profile: str
    architecture: str
    divisor: int
    size: int

    def section(self, name: str) -> dict[str, Any]:
        """A section of the profile's file."""
        return read_yaml(Path(f"params/{self.profile}.yaml"))[name]

    def networks(self) -> tuple[Network, Network]:
        """A student and its teacher, whose batch normalisation has seen something."""
        made = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            network = build(self.architecture, self.divisor, classes=CLASSES, input_size=self.size, dropout=0.0)
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.running_var, 0.5, 2.0)
            made.append(network)
        return made[0], made[1]

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Images as networks see them, and labels."""
        generator = torch.Generator().manual_seed(2)
        images = torch.randn(BATCH, 3, self.size, self.size, generator=generator)
        return images, torch.rand(BATCH, CLASSES, generator=generator).round()

    def matchings(self) -> dict[str, MatchingSettings]:
        """Every matching method of the profile; of a sweep the first."""
        matchings: dict[str, MatchingSettings] = {}
        for entry, values in self.section("matching").items():
            methods = methods_of(entry, validate(ENTRY, values, f"matching.{entry}"))
            matchings |= dict(list(methods.items())[:1]) if "sweep" in values else methods
        return {name: matching for name, matching in matchings.items() if matching.maps != "none"}


SETTINGS = {"cpu": Setting("digits", "vgg6_bn", 8, 32), "cuda": Setting("digits", "vgg6_bn", 1, 56)}


def figures(machine: Machine) -> Iterator[Figure]:
    """Errors, each with its tolerance as its target; at the end, how many are beyond theirs."""
    missed = 0
    for part in (losses, maps, runs):
        for figure in part(machine):
            missed += figure.missed
            yield figure
    yield Figure("beyond_their_tolerance", missed, "figures", "lower", 0)


def losses(machine: Machine) -> Iterator[Figure]:
    """Of every matching loss the loss, and all gradients of the student's weights."""
    setting = SETTINGS[machine.device]
    for name, matching in setting.matchings().items():
        truth = _step(setting, matching, "cpu", torch.float64)
        for precision, times in TIMES.items():
            here = _step(setting, matching, "cpu", torch.float32, precision)
            there = _step(setting, matching, machine.device, torch.float32, precision)
            for what, computed, own, expected in zip(("loss", "gradient"), there, here, truth, strict=True):
                bound = _bound(precision, times, error(own, expected))
                yield Figure(f"{name}_{precision}_{what}_error", error(computed, expected), "share", "lower", bound)


def _bound(precision: str, times: float, own: float) -> float:
    return min(max(times * own, LEAST[precision]), MOST[precision])


def _step(
    setting: Setting, matching: MatchingSettings, device: str, dtype: torch.dtype, precision: str = "32-true"
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss, and the gradient of all weights in one vector; float64 on the CPU."""
    chosen = profile_runtime(device).model_copy(update={"precision": precision})
    processes = Processes(chosen, set_up(chosen).torch)
    student, teacher = (network.to(device, dtype) for network in setting.networks())
    objective = CompressionObjective(student, teacher, matching).to(memory_format=torch.channels_last).train()
    objective.start_epoch(3)
    images, labels = (tensor.to(device, dtype) for tensor in setting.batch())
    with processes.arithmetic(), processes.fabric.autocast():
        loss = objective(images, labels)["loss"]
    loss.backward()
    gradients = [parameter.grad.flatten() for parameter in student.parameters() if parameter.grad is not None]
    return loss.detach().double().cpu(), torch.cat(gradients).double().cpu()


def error(computed: torch.Tensor, truth: torch.Tensor) -> float:
    """|computed - truth| / |truth|; 0 where both are zero, infinite where one is not finite."""
    off = (computed.double() - truth.double()).norm()
    if not torch.isfinite(off):
        return math.inf
    return float(off / truth.double().norm()) if off else 0.0


def maps(machine: Machine) -> Iterator[Figure]:
    """Of every attribution method of the profile the maps, and of the cascade of untrained layers those of LRP."""
    setting = SETTINGS[machine.device]
    methods = validate(Attribute, setting.section("attribute"), "attribute").methods
    set_up(profile_runtime(machine.device))
    images, classes = setting.batch()[0], torch.arange(BATCH) % CLASSES
    network = setting.networks()[0].eval()

    def of(method: Method, made: Network, device: str, dtype: torch.dtype) -> torch.Tensor:
        there = copy.deepcopy(made).to(device, dtype, memory_format=torch.channels_last)
        given = images.to(device, dtype)
        return Attribution(method, there, given)(there, given, classes.to(device)).double().cpu()

    def figure(name: str, method: Method, made: Network, other: Network) -> Figure:
        truth = of(method, made, "cpu", torch.float64)
        own = error(of(method, made, "cpu", torch.float32), truth)
        device_error = error(of(method, other, machine.device, torch.float32), truth)
        bound = _bound("32-true", TIMES["32-true"], own)
        return Figure(f"{name}_map_error", device_error, "share", "lower", bound)

    for name, settings in methods.items():
        few = {key: value for key, value in _FEW.items() if key in type(settings).model_fields}
        few |= {"cells": 4} if "cells" in type(settings).model_fields else {}
        yield figure(name, settings.model_copy(update=few), network, network)
    there = copy.deepcopy(network).to(machine.device)
    for (layer, here), (_, other) in zip(cascade(network, 0), cascade(there, 0), strict=True):
        yield figure(f"untrained_{layer}_lrp", methods["lrp"], here, other)


def runs(machine: Machine) -> Iterator[Figure]:
    """Two epochs twice: the same bytes; and from the state after the first one the second on the CPU: close."""
    setting = SETTINGS[machine.device]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.safetensors"
        first = _train(setting, machine.device, state)
        second = _train(setting, machine.device, None)
        differing = sum(not torch.equal(first[name], second[name]) for name in first)
        yield Figure("tensors_unlike_in_a_second_run", differing, "tensors", "lower", 0)
        on_cpu = _train(setting, "cpu", None, load_checkpoint(state))
        flat = [torch.cat([tensors[name].flatten().double() for name in first]) for tensors in (on_cpu, first)]
        yield Figure("second_epoch_on_the_cpu_error", error(*flat), "share", "lower", CONTINUED)


def _train(
    setting: Setting, device: str, state: Path | None, start: Checkpoint | None = None
) -> dict[str, torch.Tensor]:
    """The student's tensors after two epochs of SSWA, pruned; its state after the first one in a file."""
    chosen = profile_runtime(device).model_copy(update={"precision": "32-true", "deterministic": True})
    optimization = schedule(BATCH, 4 * BATCH).model_copy(update={"epochs": 2})
    student, teacher = setting.networks()
    trainer = Trainer(
        CompressionObjective(student, teacher, settings_of("swa", strength=50.0, dropped_share=0.3)),
        Batches(Photographs(4 * BATCH, classes=CLASSES), Framing(size=setting.size), optimization, 0),
        Normalize([0.45] * 3, [0.23] * 3),
        key=(0, "benchmark"),
        processes=Processes(chosen, set_up(chosen).torch),
        mean_ap=mean_ap,
        progress=Progress(0, "correctness", every=float("inf")),
        save=lambda checkpoint: save_checkpoint(checkpoint, state) if state and checkpoint.epoch == 1 else None,
    )
    masks = WeightMasks(student.convolutions())
    if start is None:
        masks.grow(0.3)
    else:
        masks.load_state(start.tensors["masks"])
    trainer.fit(optimization, start=start, after_step=masks.apply, masks=masks.state)
    return {name: tensor.cpu() for name, tensor in student.state_dict().items()}
