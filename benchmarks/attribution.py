"""Cost of an attribution map in forward passes of its network, and LRP against zennit's composite; one thread."""

from collections.abc import Callable

import torch
from torch import nn
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.rules import Pass, ZBox, ZPlus
from zennit.types import Activation, BatchNorm

from attribution_preservation.attribution.excitation_bp import excitation_bp
from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.lrp import lrp
from attribution_preservation.attribution.rap import rap
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from benchmarks.measurement import Figure
from benchmarks.rounds import ratio, time_rounds

# Side of the image: batch and rounds.
SIZES = {64: (16, 20), 224: (4, 8)}
CLASSES = 20
# forwards at most; None: reported alone
METHODS = {"grad_cam": (grad_cam, 1.1), "excitation_bp": (excitation_bp, 1.1), "lrp": (lrp, None), "rap": (rap, 8.0)}
ZENNIT_TARGET = 1.5


def measure() -> list[Figure]:
    """Ratios within one run: in every round each variant runs once, in changing order."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    figures = []
    for size, (batch, rounds) in SIZES.items():
        network = build("vgg16_bn", 1, classes=CLASSES, input_size=size, dropout=0.5).eval()
        network = network.to(memory_format=torch.channels_last)
        images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
        classes = torch.randint(0, CLASSES, (batch,))

        def forward(network: Network = network, images: torch.Tensor = images) -> None:
            with torch.no_grad():
                network(images)

        variants: dict[str, Callable[[], object]] = {
            "forward": forward,
            "zennit": zennits_lrp(network, images, classes),
        }
        for name, (method, _) in METHODS.items():
            variants[name] = lambda m=method, n=network, x=images, c=classes: m(n, x, c)  # type: ignore[misc]
        times = time_rounds(variants, rounds, "cpu")
        for name, (_, target) in METHODS.items():
            ratios = [of_round[name] / of_round["forward"] for of_round in times]
            figures.append(ratio(f"{name}_over_forward_{size}px", ratios, "lower", target))
        ratios = [of_round["zennit"] / of_round["lrp"] for of_round in times]
        figures.append(ratio(f"zennit_over_lrp_{size}px", ratios, "higher", ZENNIT_TARGET))
    return figures


def zennits_lrp(network: Network, images: torch.Tensor, classes: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The same maps by zennit's rules, on the network as a chain of modules."""
    chain = nn.Sequential(*network.trunk, nn.Flatten(), network.head.linear)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    rules = [(Activation, Pass()), (BatchNorm, Pass()), ((nn.Conv2d, nn.Linear), ZPlus(1e-30, zero_params="bias"))]
    first = [(nn.Conv2d, ZBox(low, high, stabilizer=1e-30, zero_params="bias"))]
    start = nn.functional.one_hot(classes, CLASSES)

    def run() -> torch.Tensor:
        with Gradient(chain, SpecialFirstLayerMapComposite(rules, first)) as attributor:
            return attributor(images, lambda logits: logits.detach() * start)[1].sum(1)

    return run
