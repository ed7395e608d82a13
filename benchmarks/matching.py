"""Cost of matching per training step, against its floor and against the released formulation.

The floor is the work that no method can avoid: the student's own step and the teacher's forward pass. The other bound
is the released formulation, written here from its description. It computes the teacher's map by a backward pass through
its whole network, the student's map by one with `create_graph`, and then the backward pass of the total loss.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.loss import MatchingSettings, settings_of
from attribution_preservation.matching.swa import swa_map
from attribution_preservation.matching.variants import ENTRY, methods_of
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import task_loss
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime
from benchmarks.measurement import Figure
from benchmarks.rounds import ratio, time_rounds

METHODS = ("ewa", "swa", "sswa")
TARGETS = {"cpu": 1.05, "cuda": 1.10}


@dataclass(frozen=True)
class Setting:
    """What is measured of one network.

    Attributes:
        profile: whose `runtime` says how it is computed.
        classes, size, batch: of the network, its square input and a step.
        rounds: how often.
    """

    profile: str
    classes: int
    size: int
    batch: int
    rounds: int


# The default profile's network, and the published one: at a size that a CPU bears, and on a GPU as voc2012 trains it.
SETTINGS = {
    "cpu": {"vgg6_bn": Setting("digits", 10, 56, 32, 100), "vgg16_bn": Setting("digits", 20, 96, 16, 10)},
    "cuda": {"vgg16_bn": Setting("voc2012", 20, 227, 64, 100), "vgg6_bn": Setting("digits", 10, 56, 32, 200)},
}


def matchings_of_paper() -> dict[str, MatchingSettings]:
    """The paper's methods with the default profile's values, by name."""
    section = read_yaml(Path("params/digits.yaml"))["matching"]
    return methods_of("paper", validate(ENTRY, section["paper"], "matching.paper"))


def measure() -> list[Figure]:
    """Ratios within one run: in every round each variant does one step, and the round's ratio is taken."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [figure for name, setting in SETTINGS[device].items() for figure in ratios(name, setting, device)]


def ratios(architecture: str, setting: Setting, device: str) -> Iterator[Figure]:
    """A network's ratios, computed as its profile says: precision, threads, deterministic kernels."""
    matchings = matchings_of_paper()
    section = read_yaml(Path(f"params/{setting.profile}.yaml"))["runtime"]
    runtime = validate(Runtime, section | {"device": device})
    processes = Processes(runtime, set_up(runtime).torch)
    images = torch.randn(setting.batch, 3, setting.size, setting.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.rand(setting.batch, setting.classes, device=device).round()

    def network() -> Network:
        built = build(architecture, 1, classes=setting.classes, input_size=setting.size, dropout=0.5)
        return built.to(device, memory_format=torch.channels_last)

    def step(objective: torch.nn.Module) -> Callable[[], None]:
        return training_step(objective, images, labels, processes)

    steps = {"naive": step(CompressionObjective(network(), network(), settings_of("none")))}
    for method in METHODS:
        steps[method] = step(CompressionObjective(network(), network(), matchings[method]))
        steps[f"{method}_released"] = step(Released(network(), network(), matchings[method]))
    teacher = network().eval()

    def forward() -> None:
        with torch.no_grad(), processes.arithmetic(), processes.fabric.autocast():
            teacher(images)

    rounds = time_rounds({**steps, "teacher": forward}, setting.rounds, device)
    for method in METHODS:
        floor = [r[method] / (r["naive"] + r["teacher"]) for r in rounds]
        released = [r[f"{method}_released"] / r[method] for r in rounds]
        target = TARGETS[device] if method == "swa" else None
        yield ratio(f"{architecture}_{method}_step_over_floor", floor, "lower", target)
        yield ratio(f"{architecture}_{method}_released_over_step", released, "higher", None)


class Released(torch.nn.Module):
    """The released formulation: whole backward passes where only the head's gradient is needed."""

    def __init__(self, student: Network, teacher: Network, matching: MatchingSettings) -> None:
        super().__init__()
        self.student, self._teacher, self._matching = student, [teacher.eval()], matching

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The same loss as `CompressionObjective`'s."""
        teacher, matching = self._teacher[0], self._matching
        if matching.maps == "ewa":  # needs no gradient of a logit: the floor itself
            with torch.no_grad():
                target = ewa_map(teacher.trunk(images))
            features = self.student.trunk(images)
            logits = self.student.head(features)
            student_map = ewa_map(features)
        else:
            features = teacher.trunk(images)
            logits = teacher.head(features)
            classes = logits.argmax(1)
            gradient = _whole_backward(teacher, logits, features, classes, create_graph=False)
            channels = gradient.shape[1]
            kept = torch.ones(channels, device=gradient.device)
            kept[torch.randperm(channels)[: round(matching.dropped_share * channels)]] = 0
            target = swa_map(features, gradient * kept[:, None, None])
            features = self.student.trunk(images)
            logits = self.student.head(features)
            student_map = swa_map(features, _whole_backward(self.student, logits, features, classes, create_graph=True))
        distance = map_distance(student_map, target).mean()
        return {"loss": task_loss(logits, labels) + matching.strength * distance}


def _whole_backward(
    network: Network, logits: torch.Tensor, features: torch.Tensor, classes: torch.Tensor, create_graph: bool
) -> torch.Tensor:
    """The gradient of the chosen logits at the feature map, by a backward pass through all layers and parameters."""
    chosen = logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(chosen, [features, *network.parameters()], create_graph=create_graph)[0]


def training_step(
    objective: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, processes: Processes
) -> Callable[[], None]:
    """What does one optimiser step on a batch each time that it is called, in the arithmetic of a training."""
    optimizer = torch.optim.SGD(
        objective.student.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4, fused=images.is_cuda
    )
    objective.to(images.device).train()
    if isinstance(objective, Released):
        objective.student.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with processes.arithmetic():
            with processes.fabric.autocast():
                loss = objective(images, labels)["loss"]
            loss.backward()
            optimizer.step()

    return step
