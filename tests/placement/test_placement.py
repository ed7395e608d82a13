"""Everything that a network computes stays on its device, and the CPU waits for the GPU only where it must.

On a GPU that is simulated (see `simulation`), with the CPU's results as the oracle.
"""

import contextlib
import importlib
import shutil
from collections import Counter

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file

from attribution_preservation.attribution.method import Attribution, Method
from attribution_preservation.attribution.randomization import cascade
from attribution_preservation.compression.objective import CompressionObjective, Logits
from attribution_preservation.compression.weight_pruning import WeightMasks
from attribution_preservation.data.device import sent
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.vgg import VGG
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import validate
from attribution_preservation.training import loop
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import load_checkpoint, save_checkpoint
from attribution_preservation.training.processes import Processes
from benchmarks.photographs import Photographs
from tests.attribution import test_methods as attribution
from tests.conftest import command_of
from tests.placement.simulation import CUDA, Mixed, place, simulated_gpu
from tests.training.joint_gradients import HIDDEN, METHODS
from tests.training.test_training import AUGMENTED, PLAIN, RUNTIME, schedule

CPU = torch.device("cpu")


class OnGpu(Processes):
    """One process whose device is the simulated GPU; Fabric, which looks for a real one, is told to move nothing."""

    def __init__(self, runtime=RUNTIME, device=CUDA):
        super().__init__(runtime, CPU)
        self.device, fabric = CUDA, self.fabric
        setup = fabric.setup
        fabric.setup = lambda module, optimizer: setup(module.to(CUDA), optimizer, move_to_device=False)


@pytest.fixture
def gpu(monkeypatch):
    """A simulated GPU that torch's loader and this project's `set_up` find."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "simulated")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: CUDA)
    # Adam asks whether a real one is recording a graph of its kernels.
    monkeypatch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda optimizer: None)
    return simulated_gpu


# What the simulation itself must see.


def test_tensors_of_two_devices_are_refused():
    with simulated_gpu():
        there, here = torch.ones(3).to("cuda"), torch.ones(3)
        for mixed in (
            lambda: there + here,
            lambda: torch.stack([there, here]),
            lambda: here.add_(there),
            lambda: torch.nn.functional.linear(there, torch.ones(2, 3)),
            lambda: torch.where(there > 0, here, there),
            lambda: torch.autograd.grad((there.requires_grad_() * 2).sum(), there)[0] * here,
        ):
            with pytest.raises(Mixed, match="of cpu"):
                mixed()
        for hidden in (there.detach().numpy, lambda: torch.ones(3, device="cuda").__array__()):
            with pytest.raises(Mixed, match="NumPy"):
                hidden()


def test_a_tensor_says_where_it_is():
    with simulated_gpu() as seen:
        there = torch.ones(2, 3).to(CUDA)
        made = [there, there.view(3, 2), there * 2, torch.zeros(2, device=CUDA), torch.zeros_like(there), there.clone()]
        assert all(tensor.device == CUDA and tensor.is_cuda for tensor in made)
        module = torch.nn.BatchNorm2d(2).to("cuda")
        assert {tensor.device for tensor in module.state_dict().values()} == {CUDA}
        assert {tensor.device for tensor in module.cpu().state_dict().values()} == {CPU}
        assert torch.ones(2).device == torch.zeros(2, device=CPU).device == there.cpu().device == CPU
        assert (there + 1.0).device == (there * torch.tensor(2.0)).device == CUDA  # a number is of every device
    assert seen.operations


@pytest.mark.parametrize(
    ("act", "waits"),
    [
        (lambda there: there * 2, 0),
        (lambda there: torch.arange(3, device=there.device), 0),
        (lambda there: there[torch.zeros(1, dtype=torch.long, device=CUDA)], 0),
        (lambda there: sent(torch.ones(3), CUDA), 0),
        (lambda there: torch.ones(3).to(CUDA), 1),
        (lambda there: torch.ones(3).to(CUDA, non_blocking=True), 1),  # from memory that the GPU cannot read
        (lambda there: torch.tensor([1.0], device=CUDA), 1),
        (lambda there: there.cpu(), 1),
        (lambda there: there.sum().item(), 1),
        (lambda there: float(there.sum()), 1),
        (lambda there: bool((there > 0).all()), 1),
        (lambda there: there.tolist(), 1),
        (lambda there: there[there > 0], 1),
        (lambda there: there.nonzero(), 1),
        (lambda there: there[torch.tensor([0])], 1),
        (lambda there: torch.zeros(3).copy_(there), 1),
    ],
)
def test_a_wait_is_counted(act, waits):
    with simulated_gpu() as seen:
        there = sent(torch.ones(3), CUDA)
        act(there)
    assert len(seen.waits) == waits


# What the project does on it.


def pair(name):
    torch.manual_seed(0)
    hidden = HIDDEN.get(name, ())
    return [VGG((4, "M", 4, "M"), classes=20, input_size=8, dropout=0.5, hidden=hidden) for _ in range(2)]


def trained(objective, processes, augmentation, *, start=None, pruned=None, save=lambda checkpoint: None, epochs=1):
    optimization = schedule(augmentation=augmentation, epochs=epochs, milestones=[], learning_rate=0.001)
    trainer = loop.Trainer(
        objective,
        Batches(Photographs(24, 12, 14), Framing(size=8), optimization, workers=0),
        Normalize([0.5] * 3, [0.2] * 3),
        key=(0, "placement"),
        mean_ap=mean_ap,
        processes=processes,
        progress=Progress(0, "placement", every=float("inf")),
        save=save,
    )
    masks = WeightMasks(objective.student.convolutions())
    if start is not None:
        masks.load_state(start.tensors["masks"])
    elif pruned is not None:
        masks.grow(pruned)
    trainer.fit(optimization, start=start, after_step=masks.apply, masks=masks.state)
    return {key: tensor.cpu() for key, tensor in objective.student.state_dict().items()}


def assert_close(actual, expected):
    # The GPU's optimiser is the fused one.
    for key, tensor in expected.items():
        torch.testing.assert_close(
            actual[key], tensor, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize("augmentation", [AUGMENTED, PLAIN], ids=["augmented", "kept in memory"])
@pytest.mark.parametrize("name", METHODS)
def test_training_stays_on_its_device_and_no_step_waits(gpu, monkeypatch, name, augmentation):
    monkeypatch.setattr(loop, "_LOOK_EVERY", 100)  # so that the epoch's end looks at the loss, and no step before it
    logits = Logits(temperature=4.0, weight=0.5)
    expected = trained(CompressionObjective(*pair(name), METHODS[name], logits), Processes(RUNTIME, CPU), augmentation)
    inside = []
    with gpu() as seen:
        objective = CompressionObjective(*pair(name), METHODS[name], logits)
        forward = objective.forward

        def counted(*arguments):
            inside.append(len(seen.waits))
            return forward(*arguments)

        objective.forward = counted
        actual = trained(objective, OnGpu(), augmentation, pruned=0.0)
    assert_close(actual, expected)
    # From the first step's forward pass to the last one's: batches, losses, gradients, optimiser steps and masks.
    waits = seen.waits[inside[1] : inside[-1]]
    assert len(inside) == 6
    assert Counter(waits) == {}


@pytest.mark.parametrize("name", ["sswa"])
def test_a_run_goes_on_from_its_state_on_either_device(gpu, tmp_path, name):
    states = []

    def keep(checkpoint):
        path = tmp_path / f"{len(states)}.safetensors"
        save_checkpoint(checkpoint, path)
        states.append(path)

    def objective():
        return CompressionObjective(*pair(name), METHODS[name])

    with gpu():
        expected = trained(objective(), OnGpu(), AUGMENTED, pruned=0.3, save=keep, epochs=2)
    start = load_checkpoint(states[0])
    assert start.epoch == 1
    with gpu():
        again = trained(objective(), OnGpu(), AUGMENTED, start=start, epochs=2)
    assert all(torch.equal(again[key], tensor) for key, tensor in expected.items())
    on_cpu = trained(objective(), Processes(RUNTIME, CPU), AUGMENTED, start=load_checkpoint(states[0]), epochs=2)
    assert_close(on_cpu, expected)
    assert all(bool((tensor == 0).any()) for key, tensor in expected.items() if key.endswith("0.weight"))


@pytest.mark.parametrize(("family", "name"), attribution.CASES)
def test_a_map_is_made_on_its_networks_device(gpu, family, name):
    torch.manual_seed(0)
    network = attribution.network(family, torch.float32)
    images, references = attribution.images(3, torch.float32), attribution.images(8, torch.float32)
    settings = attribution.SETTINGS[name]
    if settings.get("layer") not in (None, *network.layer_index):
        settings = settings | {"layer": network.explained_layer}
    settings = validate(TypeAdapter(Method), settings)
    arguments = images, attribution.CLASSES, attribution.ROWS
    expected = Attribution(settings, network, references)(network, *arguments)
    with gpu():
        network.to(CUDA)
        maps = Attribution(settings, network, references.to(CUDA))(network, *(tensor.to(CUDA) for tensor in arguments))
        assert place(maps) == "cuda"
        actual = maps.cpu()
    assert torch.equal(actual, expected)


def test_a_cascade_of_untrained_layers_stays_on_its_device(gpu):
    torch.manual_seed(0)
    network, images = attribution.network("vgg", torch.float32), attribution.images(2, torch.float32)
    expected = [(layer, step(images)) for layer, step in cascade(network, 5)]
    with gpu(), torch.no_grad():
        network.to(CUDA)
        actual = [(layer, step(images.to(CUDA)).cpu()) for layer, step in cascade(network, 5)]
    assert [layer for layer, _ in actual] == [layer for layer, _ in expected]
    assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in zip(actual, expected, strict=True))


@pytest.mark.parametrize("name", ["attribute", "probe"])
def test_a_stage_that_asks_networks_has_the_same_answers(gpu, finished, tmp_path, monkeypatch, name):
    root = tmp_path / "project"
    shutil.copytree(finished[0], root)
    monkeypatch.chdir(root)
    main, waits = importlib.import_module(f"stages.{name}").main, 0
    for stage in instances(name):
        files = sorted(stage.only_out.rglob("*.safetensors")) + sorted(stage.only_out.rglob("*.csv"))
        expected = {path: path.read_bytes() for path in files}
        shutil.rmtree(stage.only_out)
        with gpu() as seen:
            main(stage)
        assert seen.operations
        waits += len(seen.waits)
        assert expected
        assert all(path.read_bytes() == content for path, content in expected.items())
    assert waits


@pytest.mark.parametrize("name", ["teacher", "prune_weights", "prune_channels", "distill", "scratch", "roar"])
def test_a_stage_that_trains_makes_the_same_networks(gpu, finished, tmp_path, monkeypatch, name):
    root = tmp_path / "project"
    shutil.copytree(finished[0], root, ignore=shutil.ignore_patterns(".resume"))
    monkeypatch.chdir(root)
    monkeypatch.setattr("attribution_preservation.pipeline.run.training_run.Processes", OnGpu)
    stage = next(instances(name))
    expected = {path: load_file(path) for path in sorted(stage.only_out.rglob("*.safetensors"))}
    shutil.rmtree(stage.only_out)
    with gpu() as seen, contextlib.chdir(root):
        importlib.import_module(command_of(name)[0]).main(stage)
    assert seen.operations
    assert expected.keys() == set(stage.only_out.rglob("*.safetensors"))
    for path, tensors in expected.items():
        assert_close(load_file(path), tensors)
