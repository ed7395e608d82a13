"""What differentiates gives the same whatever gradient mode its caller has set, and leaves that mode as it was."""

import copy

import numpy as np
import pytest
import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.randomization import cascade
from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.compression.objective import CompressionObjective, Logits
from attribution_preservation.deployment.export import ExplainedNetwork, export_onnx
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.matching.sensitivity import gradient_by_autograd
from attribution_preservation.matching.view import student_view
from attribution_preservation.metrics.corruption import noise_scores
from attribution_preservation.metrics.removal import removal_scores
from attribution_preservation.metrics.representation import gram, linear_cka
from attribution_preservation.models.build import build
from attribution_preservation.models.network_files import load_network, save_network
from tests.compression.test_objective import EVERY_MAP
from tests.conftest import MAKERS, make_network
from tests.matching.test_maps import batch

MODES = {
    "enable_grad": torch.enable_grad,
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
}
CLASSES = torch.tensor([0, 2, 1, 1])


def small():
    return build("vgg6_bn", 8, classes=3, input_size=32, dropout=0.0).eval()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("maps", ["none", *EVERY_MAP])
def test_the_loss_of_compression_can_be_evaluated_without_training(mode, kind, maps):
    matching = settings_of(maps, **({} if maps == "none" else {"strength": 50.0}))

    def parts():
        # Its images, labels and teacher are made where the loss is asked for; a student cannot be, see below.
        teacher = copy.deepcopy(MAKERS[kind](2))
        objective = CompressionObjective(student.eval(), teacher, matching, Logits(temperature=4.0, weight=0.5))
        objective.start_epoch(0)
        return objective(*batch())

    student = MAKERS[kind](1)
    expected = parts()
    with MODES[mode]():
        recording = torch.is_grad_enabled()
        actual = parts()
        assert torch.is_grad_enabled() == recording
        assert all(torch.equal(actual[name], value) for name, value in expected.items())
        assert actual["loss"].requires_grad == recording
    assert all(parameter.grad is None and parameter.requires_grad for parameter in student.parameters())


def test_a_student_that_no_gradient_can_change_is_refused():
    with torch.inference_mode():
        student = make_network(0)
    with pytest.raises(ValueError, match=r"made under torch\.inference_mode and cannot be trained"):
        student_view(student, batch()[0], [])


def test_a_gradient_of_a_pass_that_was_not_recorded_is_refused():
    network = make_network(0)
    with torch.no_grad():
        feature_map = network.trunk(batch()[0])
        logits = network.head(feature_map)
    with pytest.raises(ValueError, match="the pass was not recorded"):
        gradient_by_autograd(logits, feature_map, CLASSES)


def test_a_network_that_was_made_under_inference_mode_can_be_trained(tmp_path):
    built = small()
    with torch.inference_mode():
        made = small()
        save_network(built, tmp_path / "network", {})
        loaded, _ = load_network(tmp_path / "network")
        pruned = copy.deepcopy(loaded)
        prune_channels(loaded, {"all": 0.5})
        untrained = [network for _, network in cascade(built, 0)]
    assert any(parameter.is_inference() for parameter in pruned.parameters())  # torch's own copy, for comparison
    for network in (made, loaded, *untrained):
        network(torch.randn(2, 3, 32, 32)).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("mode", MODES)
def test_layers_are_untrained_alike_under_every_mode(mode):
    expected = list(cascade(make_network(0), 3))
    with MODES[mode]():
        recording = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        for (name, network), (as_named, other) in zip(cascade(make_network(0), 3), expected, strict=True):
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == recording
            assert name == as_named
            assert torch.equal(grad_cam(network, batch()[0], CLASSES), grad_cam(other, batch()[0], CLASSES))


@pytest.mark.parametrize("mode", MODES)
def test_an_exported_network_is_the_same_under_every_mode(tmp_path, mode):
    torch.manual_seed(0)
    network = small()
    export_onnx(network, tmp_path / "as_usual")
    with MODES[mode](), torch.autocast("cpu", torch.bfloat16):
        export_onnx(network, tmp_path / "under_mode")
        explained = ExplainedNetwork(network)
    assert (tmp_path / "under_mode").read_bytes() == (tmp_path / "as_usual").read_bytes()
    explained(torch.randn(2, 3, 32, 32))[1].sum().backward()


@pytest.mark.parametrize("mode", MODES)
def test_metrics_take_a_network_as_it_is_for_predictions(mode):
    network, (images, _) = make_network(0), batch(8)
    maps, labels = np.random.default_rng(0).random((8, 8, 8)), torch.arange(8) % 3
    masks = np.tile(np.arange(8, dtype=np.uint8) // 4, (8, 8, 1))
    colour, pixels = torch.zeros(3, dtype=torch.float64), (50 * images + 128).clamp(0, 255).to(torch.uint8)
    present = torch.nn.functional.one_hot(labels, 3).numpy()

    def scores(predict, layer):
        removal = removal_scores(predict, images, labels, maps, [50], colour, 0)
        noise = noise_scores(lambda batch: predict(batch.double() / 255), pixels, present, masks, [20.0], 0)
        return [*removal.values(), *noise[1].values(), linear_cka(gram(layer(images)), gram(images))]

    expected = scores(torch.no_grad()(network), torch.no_grad()(network.last_activation))
    with MODES[mode]():
        actual = scores(network, network.last_activation)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
