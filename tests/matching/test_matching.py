"""The matching losses against plain algebra in float64."""

import pytest
import torch
import torch.nn.functional as F

from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.objective import FrozenTeacher, MatchedObjective
from attribution_preservation.matching.swa import drop_channels, sensitivity, swa_map
from tests.conftest import make_network


def batch(count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.rand(count, 3, generator=generator, dtype=torch.float64).round()
    return images, labels


def test_distance_worked_by_hand():
    student = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    teacher = torch.tensor([[[4.0, 3.0]], [[0.0, 7.0]]])
    # Normalised: (0.6, 0.8) against (0.8, 0.6), and (0, 1) against itself; mean over 2 images of 2 cells.
    assert map_distance(student, teacher).item() == pytest.approx((0.04 + 0.04 + 0 + 0) / 4)


def test_distance_ignores_the_scale_of_either_map():
    student, teacher = torch.rand(3, 5, 5), torch.rand(3, 5, 5)
    torch.testing.assert_close(map_distance(student * 7, teacher * 0.2), map_distance(student, teacher))


def test_a_map_of_zeros_has_finite_distance_and_gradient():
    student = torch.zeros(1, 2, 2, requires_grad=True)
    distance = map_distance(student, torch.tensor([[[0.0, 3.0], [4.0, 0.0]]]))
    distance.backward()
    assert distance.item() == pytest.approx(1 / 4)
    assert torch.isfinite(student.grad).all()


def test_the_teachers_map_is_a_constant():
    teacher = torch.rand(1, 2, 2, requires_grad=True)
    assert not map_distance(torch.rand(1, 2, 2), teacher).requires_grad


def test_ewa_worked_by_hand():
    feature_map = torch.tensor([[[[1.0, 2.0]], [[-3.0, 0.0]]]])
    assert ewa_map(feature_map).tolist() == [[[5.0, 2.0]]]


def test_sensitivity_of_a_linear_head_is_a_slice_of_its_weights(network):
    feature_map = network.trunk(batch()[0]).detach().requires_grad_()
    classes = torch.tensor([0, 2, 1, 1])
    alpha = sensitivity(network.head(feature_map), feature_map, classes)
    expected = network.head[-1].weight.view(3, 6, 2, 2).sum((2, 3))[classes]
    torch.testing.assert_close(alpha, expected, atol=1e-12, rtol=0)


def test_sensitivity_in_training_sees_the_dropout_mask_of_the_forward(network):
    feature_map = network.trunk(batch()[0]).detach().requires_grad_()
    network.head.train()
    torch.manual_seed(7)
    logits = network.head(feature_map)
    alpha = sensitivity(logits, feature_map, torch.zeros(4, dtype=torch.int64))
    torch.manual_seed(7)
    kept = F.dropout(torch.ones(4, 24, dtype=torch.float64), 0.5)  # 0 or 1 / (1 - p)
    expected = (kept * network.head[-1].weight[0]).view(4, 6, 2, 2).sum((2, 3))
    torch.testing.assert_close(alpha, expected, atol=1e-12, rtol=0)


def test_swa_worked_by_hand():
    feature_map = torch.tensor([[[[1.0, 2.0]], [[3.0, 1.0]]]])
    assert swa_map(feature_map, torch.tensor([[2.0, -1.0]])).tolist() == [[[0.0, 3.0]]]  # 2-3 < 0, 4-1


@pytest.mark.parametrize(("share", "dropped"), [(0.0, 0), (0.3, 3), (0.34, 3), (0.99, 10)])
def test_sswa_drops_exactly_its_share_of_channels_for_the_whole_batch(share, dropped):
    left = drop_channels(torch.ones(5, 10), share)
    assert (left[0] == 0).sum() == dropped
    assert (left == left[0]).all()


def test_sswa_draws_anew_for_every_batch():
    draws = {tuple(drop_channels(torch.ones(1, 40), 0.3)[0].tolist()) for _ in range(10)}
    assert len(draws) > 1


def objective(maps, **options):
    student, teacher = make_network(1), make_network(2)
    return MatchedObjective(student, teacher, maps=maps, strength=50.0, **options)


def reference_loss(student, teacher, images, labels, maps):
    """The same loss for a linear head without dropout, from weights alone: no autograd inside."""
    fs, ft = student.trunk(images), teacher.trunk(images)
    ys, yt = student.head(fs), teacher.head(ft)
    top = yt.argmax(1)
    if maps == "ewa":
        ms, mt = (fs**2).mean(1), (ft**2).mean(1)
    else:
        ws = student.head[-1].weight.view(3, 6, 2, 2).sum((2, 3))[top]
        wt = teacher.head[-1].weight.view(3, 6, 2, 2).sum((2, 3))[top]
        ms = (ws[:, :, None, None] * fs).sum(1).clamp_min(0)
        mt = (wt[:, :, None, None] * ft).sum(1).clamp_min(0)
    ms, mt = ms.flatten(1), mt.flatten(1)
    ms = ms / ms.norm(dim=1, keepdim=True).clamp_min(1e-12)
    mt = mt / mt.norm(dim=1, keepdim=True).clamp_min(1e-12)
    matching = ((ms - mt.detach()) ** 2).mean()
    task = -(labels * F.logsigmoid(ys) + (1 - labels) * F.logsigmoid(-ys)).mean()
    return task + 50.0 * matching, matching


@pytest.mark.parametrize("maps", ["ewa", "swa"])
def test_loss_and_every_parameter_gradient_agree_with_the_closed_form(maps):
    images, labels = batch()
    matched = objective(maps).eval()
    parts = matched(images, labels)
    expected, matching = reference_loss(matched.student, matched.teacher.network, images, labels, maps)
    torch.testing.assert_close(parts["loss"], expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(parts["matching"], matching, atol=1e-10, rtol=0)
    parameters = list(matched.student.parameters())
    found = torch.autograd.grad(parts["loss"], parameters)
    for gradient, reference in zip(found, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-10, rtol=0)
    assert matching > 0


def test_the_head_learns_from_matching_alone():
    # The student's map is differentiated through alpha too: without double backward the head's gradient would be 0.
    images, labels = batch()
    matched = objective("swa").eval()
    (gradient,) = torch.autograd.grad(matched(images, labels)["matching"], [matched.student.head[-1].weight])
    assert gradient.abs().max() > 0


def test_a_student_that_is_its_teacher_has_no_matching_loss():
    images, labels = batch()
    same = MatchedObjective(make_network(1), make_network(1), maps="swa", strength=50.0).eval()
    assert same(images, labels)["matching"].item() == pytest.approx(0, abs=1e-14)


def test_the_explained_class_is_the_teachers():
    images, labels = batch()
    matched = objective("swa").eval()
    with torch.no_grad():
        matched.student.head[-1].bias += torch.tensor([100.0, 0, 0])  # another top class, the same sensitivities
    changed = matched(images, labels)["matching"]
    torch.testing.assert_close(changed, objective("swa").eval()(images, labels)["matching"])


def test_the_teacher_stays_in_eval_mode_and_unchanged():
    images, labels = batch()
    matched = objective("swa", dropped_share=0.3).train()
    before = {name: tensor.clone() for name, tensor in matched.teacher.state_dict().items()}
    matched(images, labels)["loss"].backward()
    assert not any(module.training for module in matched.teacher.modules())
    assert matched.student.training
    assert all(torch.equal(before[name], tensor) for name, tensor in matched.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in matched.teacher.parameters())
    assert not FrozenTeacher(make_network(3)).train().training


def test_without_student_dropout_the_map_is_that_of_the_whole_head():
    images, labels = batch()
    matched = objective("swa", student_dropout=False)
    matched.student.head.train()  # the trunk's statistics stay fixed
    noisy = matched(images, labels)["matching"]
    assert matched.student.head[1].training
    torch.testing.assert_close(noisy, matched.eval()(images, labels)["matching"])
