"""Other arithmetic and compiled code, beside float32 step by step."""

import copy

import pytest
import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.models.vgg import VGG
from attribution_preservation.training.loop import compile_trunks
from attribution_preservation.training.processes import Processes
from tests.training.joint_gradients import METHODS
from tests.training.test_training import RUNTIME

HEADS = {"linear": (), "hidden": (64, 32)}


def matched(matching, head="linear"):
    torch.manual_seed(0)
    shape = {"classes": 5, "input_size": 16, "dropout": 0.5, "hidden": HEADS[head]}
    networks = [VGG((16, "M", 16, "M"), **shape) for _ in range(2)]
    with torch.no_grad():  # as large as a trained network's: initial ones let next to nothing through two more layers
        for network in networks:
            for linear in network.head.linears if HEADS[head] else ():
                linear.weight.normal_(0, linear.in_features**-0.5)
    return CompressionObjective(*networks, matching)


def step(objective, precision="32-true"):
    """Loss and gradients of one batch, as the training loop computes them."""
    torch.manual_seed(1)
    images, labels = torch.randn(32, 3, 16, 16), torch.rand(32, 5).round()
    fabric = Processes(RUNTIME.model_copy(update={"precision": precision}), torch.device("cpu")).fabric
    prepared, _ = fabric.setup(objective, torch.optim.SGD(objective.student.parameters(), lr=0.1))
    prepared.train()
    objective.start_epoch(2)
    torch.manual_seed(3)
    parts = prepared(images, labels)
    fabric.backward(parts["loss"])
    return parts["loss"].item(), [parameter.grad for parameter in objective.student.parameters()]


def distance(ours, reference):
    """Of all gradients together, as a share of their length."""
    ours, reference = (torch.cat([part.flatten() for part in parts]) for parts in (ours, reference))
    return ((ours - reference).norm() / reference.norm()).item()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_stays_within_its_rounding_of_float32(name, head):
    """bfloat16 rounds to 2^-9 of a value; through four layers and back a gradient gathers a few of these.

    Where it turns a hidden unit on or off, a sensitivity jumps besides.
    """
    objective = matched(METHODS[name], head)
    loss, gradients = step(copy.deepcopy(objective))
    rounded, of_rounded = step(objective, "bf16-mixed")
    assert rounded == pytest.approx(loss, rel=0.02)
    assert rounded != loss  # it did run in bfloat16
    assert distance(of_rounded, gradients) < (0.15 if HEADS[head] else 0.1)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", METHODS)
def test_a_loss_says_whether_it_differentiates_its_trunk_twice(name, head):
    """By what autograd has recorded: a second derivative of a convolution is there, or it is not."""
    objective = matched(METHODS[name], head).train()
    objective.start_epoch(0)
    loss = objective(torch.randn(4, 3, 16, 16), torch.rand(4, 5).round())["loss"]
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    recorded = any("ConvolutionBackwardBackward" in node.name() for node in seen)
    assert recorded == objective.differentiates_trunk_twice


@pytest.mark.parametrize("head", HEADS)
def test_a_compiled_trunk_computes_what_the_plain_one_does(head):
    objective = matched(METHODS["swa"], head)
    loss, gradients = step(copy.deepcopy(objective))
    compile_trunks(objective)
    compiled, of_compiled = step(objective)
    assert compiled == pytest.approx(loss, rel=1e-5)
    assert distance(of_compiled, gradients) < 1e-5
