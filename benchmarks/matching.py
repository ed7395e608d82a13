"""What matching costs per training step, against its floor and against the released formulation.

The floor is what no method can do without: the student's own step and the teacher's forward pass. The released
formulation, written here from its description (the teacher's map by a backward pass through its whole network, the
student's by one with `create_graph`, then the backward pass of the total loss), is the other end.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.swa import swa_map
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import task_loss
from attribution_preservation.pipeline.run.yaml_text import read_yaml
from attribution_preservation.pipeline.schema.matching import Matching, methods_of, read_entry
from benchmarks.report import Figure
from benchmarks.rounds import ratio, time_rounds

METHODS = ("ewa", "swa", "sswa")
TARGETS = {"cpu": 1.05, "cuda": 1.10}
# Network, its input and batch: the default profile's, and the published one at a size that a CPU bears.
SETTINGS = {"vgg6_bn": ("vgg6_bn", 10, 56, 32), "vgg16_bn": ("vgg16_bn", 20, 96, 16)}
_ROUNDS = {"cpu": {"vgg6_bn": 100, "vgg16_bn": 10}, "cuda": {"vgg6_bn": 200, "vgg16_bn": 200}}
_THREADS = 1  # as the default profile has each of its processes


def matchings_of_paper() -> dict[str, Matching]:
    """The paper's methods with the default profile's values, by name."""
    section = read_yaml(Path("params/digits.yaml"))["matching"]
    return methods_of("paper", read_entry("paper", section["paper"]))


def measure() -> list[Figure]:
    """Ratios within one run: in every round each variant does one step, and the round's ratio is taken."""
    torch.set_num_threads(_THREADS)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    matchings = matchings_of_paper()
    figures = []
    for name, (architecture, classes, size, batch) in SETTINGS.items():
        images = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
        labels = torch.rand(batch, classes, device=device).round()

        def network(architecture: str = architecture, classes: int = classes, size: int = size) -> Network:
            found = build(architecture, 1, classes=classes, input_size=size, dropout=0.5)
            return found.to(device, memory_format=torch.channels_last)

        steps = {"naive": _step(CompressionObjective(network(), network(), Matching(maps="none")), images, labels)}
        for method in METHODS:
            matching = matchings[method]
            steps[method] = _step(CompressionObjective(network(), network(), matching), images, labels)
            steps[f"{method}_released"] = _step(Released(network(), network(), matching), images, labels)
        teacher = network().eval()

        def forward(teacher: Network = teacher, images: torch.Tensor = images) -> None:
            with torch.no_grad():
                teacher(images)

        rounds = time_rounds({**steps, "teacher": forward}, _ROUNDS[device][name], device)
        for method in METHODS:
            floor = [r[method] / (r["naive"] + r["teacher"]) for r in rounds]
            released = [r[f"{method}_released"] / r[method] for r in rounds]
            target = TARGETS[device] if method == "swa" else None
            figures.append(ratio(f"{name}_{method}_step_over_floor", floor, "lower", target))
            figures.append(ratio(f"{name}_{method}_released_over_step", released, "higher", None))
    return figures


class Released(torch.nn.Module):
    """The released formulation: whole backward passes where only the head's gradient is needed."""

    def __init__(self, student: Network, teacher: Network, matching: Matching) -> None:
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
            found = ewa_map(features)
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
            found = swa_map(features, _whole_backward(self.student, logits, features, classes, create_graph=True))
        distance = map_distance(found, target).mean()
        return {"loss": task_loss(logits, labels) + matching.strength * distance}


def _whole_backward(
    network: Network, logits: torch.Tensor, features: torch.Tensor, classes: torch.Tensor, create_graph: bool
) -> torch.Tensor:
    """The gradient of the chosen logits at the feature map, by a backward pass through all layers and parameters."""
    chosen = logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(chosen, [features, *network.parameters()], create_graph=create_graph)[0]


def _step(objective: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(objective.student.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    objective.to(images.device).train()
    if isinstance(objective, Released):
        objective.student.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective(images, labels)["loss"].backward()
        optimizer.step()

    return step
