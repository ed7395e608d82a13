"""One of several processes: the gradients of its share of a batch, joined with the others', beside the whole batch's.

Started by torchrun; `python -m torch.distributed.run --nproc-per-node 2 -m tests.training.joint_gradients FILE`. The
first process writes, by method, the largest difference of a gradient as a share of the largest gradient of its weight.
"""

import copy
import json
import sys
from pathlib import Path

import torch

from attribution_preservation.compression.objective import CompressionObjective, Logits
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.models.vgg import VGG
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime_settings import Runtime

METHODS = {name: settings_of(name, **loss.example) for name, loss in LOSSES.items()} | {
    "sswa": settings_of("swa", strength=50.0, dropped_share=0.3),
    "swa_layers": settings_of("swa", strength=50.0, layers=["pool1", "pool2"]),
    "random_weights_dropped": settings_of("random_weights", strength=50.0, dropped_share=0.3),
    "swa_hidden": settings_of("swa", strength=50.0),
    "neuron_hidden": settings_of("neuron", strength=50.0),
}
HIDDEN = dict.fromkeys(("swa_hidden", "neuron_hidden"), (12, 8))  # layers of the head, by method
BATCH = 8


def main() -> None:
    """Compare every method."""
    runtime = Runtime(
        device="cpu", precision="32-true", cpu_threads=1, jobs=1, workers=0, devices=2, nodes=1, compile=False,
        checkpoint_seconds=0.0, deterministic=True,
    )  # fmt: skip
    processes = Processes(runtime, torch.device("cpu"))
    errors = {}
    for name, matching in METHODS.items():
        torch.manual_seed(0)
        images, labels = torch.randn(BATCH, 3, 16, 16), torch.rand(BATCH, 3).round()
        networks = [network(HIDDEN.get(name, ())) for _ in range(2)]
        objective = CompressionObjective(*networks, matching, Logits(temperature=4.0, weight=0.5))
        alone = copy.deepcopy(objective)
        torch.manual_seed(processes.rank)  # nothing of the joint gradient may hang on a process's own generator
        joint, _ = processes.fabric.setup(objective, torch.optim.SGD(objective.student.parameters(), lr=0.1))
        joint.eval()  # batch normalisation and dropout, which look at a process's share of the batch alone
        objective.start_epoch(7)
        rows = slice(processes.rank, None, processes.count)
        processes.fabric.backward(joint(images[rows], labels[rows])["loss"])
        alone.eval().start_epoch(7)
        alone(images, labels)["loss"].backward()
        weights = zip(objective.student.parameters(), alone.student.parameters(), strict=True)
        errors[name] = max(float((a.grad - b.grad).abs().max() / b.grad.abs().max()) for a, b in weights)
    if processes.leads:
        Path(sys.argv[1]).write_text(json.dumps(errors))


def network(hidden: tuple[int, ...]) -> VGG:
    """A small one, in float64, so that what differs is not rounding."""
    return VGG((4, "M", 6, "M"), classes=3, input_size=16, dropout=0.5, hidden=hidden).double()


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
