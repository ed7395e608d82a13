"""Every map that can be matched, and their distance, against answers worked out by hand or from weights alone."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import InputXGradient, IntegratedGradients

from attribution_preservation.errors import UserError
from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.input_gradient import input_gradient_map
from attribution_preservation.matching.integrated_gradients import integrated_gradients_map
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.matching.loss_gradient import gradient_distance, loss_gradient
from attribution_preservation.matching.matcher import Matcher
from attribution_preservation.matching.neuron import neuron_map
from attribution_preservation.matching.random_weights import bernoulli_weights, random_map
from attribution_preservation.matching.rectifier import RECTIFIERS
from attribution_preservation.matching.selection import mean_over, right_images
from attribution_preservation.matching.sensitivity import feature_gradient, gradient_by_autograd
from attribution_preservation.matching.swa import kept_channels, swa_map
from attribution_preservation.matching.view import FrozenTeacher, student_view
from attribution_preservation.models.network import LinearHead
from tests.conftest import MAKERS, make_hidden, make_network

CLASSES = torch.tensor([0, 2, 1, 1])


def batch(count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.rand(count, 3, generator=generator, dtype=torch.float64).round()
    return images, labels


def view(network, from_input=False, layers=()):
    return student_view(network, batch()[0], layers, from_input=from_input)


def test_distance_worked_by_hand():
    student = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    teacher = torch.tensor([[[4.0, 3.0]], [[0.0, 7.0]]])
    # Normalised: (0.6, 0.8) against (0.8, 0.6), and (0, 1) against itself; mean over two cells.
    torch.testing.assert_close(map_distance(student, teacher), torch.tensor([(0.04 + 0.04) / 2, 0.0]))


def test_distance_ignores_the_scale_of_either_map():
    student, teacher = torch.rand(3, 5, 5), torch.rand(3, 5, 5)
    torch.testing.assert_close(map_distance(student * 7, teacher * 0.2), map_distance(student, teacher))


def test_a_map_of_zeros_has_a_distance_and_passes_no_gradient():
    student = torch.zeros(1, 2, 2, requires_grad=True)
    distance = map_distance(student, torch.tensor([[[0.0, 3.0], [4.0, 0.0]]]))
    distance.backward()
    assert distance.item() == pytest.approx(1 / 4)
    assert student.grad.eq(0).all()


def test_the_teachers_map_is_a_constant():
    teacher = torch.rand(1, 2, 2, requires_grad=True)
    assert not map_distance(torch.rand(1, 2, 2), teacher).requires_grad


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(UserError, match=r"the student's map is 7 x 7, the teacher's 14 x 14"):
        map_distance(torch.rand(2, 7, 7), torch.rand(2, 14, 14))


def test_ewa_worked_by_hand():
    feature_map = torch.tensor([[[[1.0, 2.0]], [[-3.0, 0.0]]]])
    assert ewa_map(feature_map).tolist() == [[[5.0, 2.0]]]


# One image, two channels of 1 x 2 positions. alpha: 1 + 3 = 4 and -2 + 0 = -2.
FEATURES = torch.tensor([[[[1.0, 2.0]], [[3.0, 1.0]]]])
GRADIENT = torch.tensor([[[[1.0, 3.0]], [[-2.0, 0.0]]]])


@pytest.mark.parametrize(
    ("rectifier", "expected"),
    [("identity", [-2.0, 6.0]), ("relu", [0.0, 6.0]), ("abs", [2.0, 6.0])],  # 4*1 - 2*3 and 4*2 - 2*1
)
def test_swa_and_its_rectifiers_worked_by_hand(rectifier, expected):
    assert swa_map(FEATURES, GRADIENT, RECTIFIERS[rectifier])[0, 0].tolist() == expected


def test_neurons_weigh_themselves():
    # 1*1 - 2*3 and 3*2 + 0*1, where channel averages would give -2 and 6.
    assert neuron_map(FEATURES, GRADIENT, RECTIFIERS["identity"])[0, 0].tolist() == [-5.0, 6.0]


def test_random_weights_leave_channels_out_and_know_no_gradient():
    assert random_map(FEATURES, torch.tensor([0.0, 1.0]))[0, 0].tolist() == [3.0, 1.0]
    assert random_map(FEATURES, None)[0, 0].tolist() == [4.0, 3.0]
    drawn = bernoulli_weights(100_000, 0.3, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.7, abs=0.006)  # four standard deviations


@pytest.mark.parametrize(("share", "dropped"), [(0.0, 0), (0.3, 3), (0.34, 3), (0.9, 9)])
def test_sswa_drops_exactly_its_share_of_channels(share, dropped):
    kept = kept_channels(10, share, torch.Generator().manual_seed(3))
    assert (kept == 0).sum() == dropped
    assert (kept == 1).sum() == 10 - dropped


def test_sswa_draws_anew_for_every_batch():
    generator = torch.Generator().manual_seed(0)
    draws = {tuple(kept_channels(40, 0.3, generator).tolist()) for _ in range(10)}
    assert len(draws) > 1


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("centred", [False, True])
def test_closed_form_and_autograd_agree_in_values_and_parameter_gradients(averaged, dropout, centred):
    head = LinearHead(6, None if averaged else 2, 3, dropout).double().train()
    feature_map = torch.randn(4, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    kept = head.draw(feature_map)
    by_method = {
        "closed form": head.gradient(feature_map, CLASSES, kept, centred),
        "autograd": gradient_by_autograd(head.logits(feature_map, kept), feature_map, CLASSES, centred),
    }
    torch.testing.assert_close(by_method["closed form"], by_method["autograd"], atol=1e-12, rtol=0)
    target = torch.rand(4, 2, 2, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(
            map_distance(swa_map(feature_map, gradient), target).mean(), [head.linear.weight, feature_map],
            retain_graph=True,
        )
        for gradient in by_method.values()
    ]  # fmt: skip
    for closed, by_autograd in zip(*gradients, strict=True):
        assert closed.abs().max() > 0
        torch.testing.assert_close(closed, by_autograd, atol=1e-12, rtol=0)


def test_the_gradient_of_a_linear_head_is_a_slice_of_its_weights(network):
    gradient = feature_gradient(view(network), "pool2", CLASSES)
    torch.testing.assert_close(gradient, network.head.linear.weight.view(3, 6, 2, 2)[CLASSES])


def slopes(head, feature_map, kept):
    """d y / d f of a head with two hidden layers as a product of matrices, [B, C, K, h, w]."""
    first, second, last = head.linears
    product = last.weight.expand(len(feature_map), -1, -1)
    before = [feature_map.flatten(1) @ first.weight.T + first.bias]
    before.append((before[0].clamp(min=0) * kept[0]) @ second.weight.T + second.bias)
    for linear, sums, factors in zip((second, first), reversed(before), reversed(kept), strict=True):
        product = (product * ((sums > 0) * factors)[:, None]) @ linear.weight
    return product.unflatten(2, feature_map.shape[1:])


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_the_gradient_of_a_hidden_head_is_the_product_of_its_matrices(dropout, centred):
    student = make_hidden(3)
    student.head.train(dropout)
    seen = student_view(student, batch()[0], [])
    assert (seen.kept is None) != dropout
    kept = seen.kept or [torch.ones(4, width, dtype=torch.float64) for width in (20, 12)]
    every = slopes(student.head, seen.last, kept)
    expected = every[torch.arange(4), CLASSES] - (every.mean(1) if centred else 0)
    actual = feature_gradient(seen, "pool2", CLASSES, centred)
    assert expected.abs().max() > 0
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
    # Differentiated again: through the feature map and through the weights, as the matching loss does.
    target = torch.rand(4, 2, 2, dtype=torch.float64)
    parameters = list(student.parameters())
    gradients = [
        torch.autograd.grad(
            map_distance(swa_map(seen.last, gradient), target).mean(), parameters, retain_graph=True, allow_unused=True
        )
        for gradient in (actual, expected)
    ]
    assert sum(one is not None and bool(one.abs().max() > 0) for one in gradients[1]) > 8
    for ours, by_hand in zip(*gradients, strict=True):
        if by_hand is None:  # the logits' own bias
            assert ours is None or ours.abs().max() == 0
        else:
            torch.testing.assert_close(torch.zeros_like(by_hand) if ours is None else ours, by_hand, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("kind", "earlier"), [("linear", "conv2"), ("hidden", "conv2"), ("residual", "layer1")])
def test_centred_logits_sum_to_zero_over_the_classes(kind, earlier):
    network = MAKERS[kind](0)
    seen = view(network, layers=[earlier])
    for layer in (earlier, network.last_layer):
        gradients = [feature_gradient(seen, layer, torch.full((4,), c), centred=True) for c in range(3)]
        assert torch.stack(gradients).sum(0).abs().max() < 1e-12
        assert gradients[0].abs().max() > 0


def test_at_an_earlier_layer_the_gradient_passes_the_pooling(network):
    seen = view(network, layers=["conv2"])
    gradient = feature_gradient(seen, "conv2", CLASSES)
    pooled, winners = F.max_pool2d(seen.features["conv2"], 2, return_indices=True)
    rows = network.head.linear.weight.view(3, 6, 2, 2)[CLASSES]
    expected = F.max_unpool2d(rows, winners, 2, output_size=seen.features["conv2"].shape[2:])
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(pooled, seen.last)


def test_input_gradient_is_captums(network):
    maps = input_gradient_map(view(network, from_input=True), CLASSES, RECTIFIERS["identity"], False)
    expected = InputXGradient(network).attribute(batch()[0].requires_grad_(), target=CLASSES).sum(1)
    torch.testing.assert_close(maps, expected, atol=1e-12, rtol=0)


def test_integrated_gradients_are_captums_and_complete(network):
    images = batch()[0]
    maps = integrated_gradients_map(view(network), CLASSES, RECTIFIERS["identity"], False, 64)
    oracle = IntegratedGradients(network)
    expected = oracle.attribute(images, target=CLASSES, n_steps=64, method="riemann_middle").sum(1)
    torch.testing.assert_close(maps, expected, atol=1e-10, rtol=0)
    difference = (network(images) - network(torch.zeros_like(images))).gather(1, CLASSES[:, None])[:, 0]
    torch.testing.assert_close(maps.sum((1, 2)), difference, atol=0.05, rtol=0)


def test_the_path_of_integrated_gradients_leaves_statistics_and_mode_alone(network):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seen = student_view(network.eval(), batch()[0], [])
    network.train()
    integrated_gradients_map(seen, CLASSES, RECTIFIERS["relu"], False, 3)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_gradient_of_the_loss_is_the_chain_rule_by_hand(network):
    images, labels = batch()
    gradient = loss_gradient(view(network, from_input=True), labels)
    images.requires_grad_()
    logits = network(images)
    # d loss / d y_c = (sigmoid(y_c) - t_c) / C for each image.
    expected = torch.autograd.grad(logits, images, (logits.detach().sigmoid() - labels) / 3)[0]
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=0)


def test_the_distance_of_loss_gradients_is_not_normalised():
    student, teacher = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert gradient_distance(student, teacher).tolist() == [2.5]
    assert gradient_distance(2 * student, 2 * teacher).tolist() == [10.0]


def test_right_images_are_those_whose_explained_class_is_a_label():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0]])
    labels = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert right_images(logits, labels).tolist() == [True, False, False]
    assert right_images(logits, torch.tensor([0, 0, 0])).tolist() == [True, False, True]


def test_the_mean_is_over_the_chosen_images_alone():
    distances = torch.tensor([1.0, 2.0, 6.0])
    assert mean_over(distances, None) == 3
    assert mean_over(distances, torch.tensor([True, False, True])) == 3.5
    assert mean_over(distances, torch.zeros(3, dtype=torch.bool)) == 0


@pytest.mark.parametrize("from_input", [False, True])
@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        *((kind, layers) for kind in ("linear", "hidden") for layers in ([], ["conv1"], ["conv2", "pool2"], ["pool2"])),
        *(("residual", layers) for layers in ([], ["layer1"], ["layer1", "layer2"], ["layer2"])),
    ],
)
def test_the_teachers_pass_is_its_forward_wherever_it_starts_to_record(kind, layers, from_input):
    network, images = MAKERS[kind](0), batch()[0]
    expected = network(images).detach()
    for differentiated in ([], layers[:1]):
        seen = FrozenTeacher(network)(images, layers, differentiated, from_input)
        torch.testing.assert_close(seen.logits.detach(), expected)
        assert set(seen.features) == {*layers, network.last_layer}
        assert seen.logits.requires_grad == (from_input or bool(differentiated))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("maps", ["ewa", "swa", "neuron", "random_weights"])
def test_the_teacher_records_gradients_only_where_its_head_has_no_closed_form(kind, maps):
    teacher = FrozenTeacher(MAKERS[kind](0))
    matcher = Matcher(settings_of(maps, strength=1.0), MAKERS[kind](1), teacher.network)
    seen = matcher.teacher_view(teacher, batch()[0])
    assert seen.logits.requires_grad == (kind == "hidden" and maps in ("swa", "neuron"))
    assert not matcher.differentiates_trunk


def test_the_teacher_cannot_leave_eval_mode():
    teacher = FrozenTeacher(make_network(3)).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
