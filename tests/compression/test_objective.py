"""The loss of a compressed network as a whole, against plain algebra in float64."""

import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from attribution_preservation.compression.distillation import binary_distillation, exclusive_distillation
from attribution_preservation.compression.objective import CompressionObjective, Logits
from attribution_preservation.errors import UserError
from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.matching.swa import kept_channels
from attribution_preservation.models.task import task_loss
from attribution_preservation.models.vgg import VGG
from tests.conftest import MAKERS, make_hidden, make_network
from tests.matching.test_maps import batch

EVERY_MAP = [name for name in LOSSES if name != "none"]


def objective(maps="swa", strength=50.0, distillation=None, kind="linear", **options):
    matching = settings_of(maps, **({} if maps == "none" else {"strength": strength}), **options)
    built = CompressionObjective(MAKERS[kind](1), MAKERS[kind](2), matching, distillation)
    built.start_epoch(0)
    return built


def reference_loss(student, teacher, images, labels, maps):
    """The same loss for a linear head without dropout, from weights alone: no autograd inside."""
    fs, ft = student.trunk(images), teacher.trunk(images)
    ys, yt = student.head(fs), teacher.head(ft)
    top = yt.argmax(1)
    if maps == "ewa":
        ms, mt = (fs**2).mean(1), (ft**2).mean(1)
    else:
        ws = student.head.linear.weight.view(3, 6, 2, 2).sum((2, 3))[top]
        wt = teacher.head.linear.weight.view(3, 6, 2, 2).sum((2, 3))[top]
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
    gradients = torch.autograd.grad(parts["loss"], parameters)
    for gradient, reference in zip(gradients, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-10, rtol=0)
    assert matching > 0


def released(network, images, top, kept):
    """Logits, feature map and its gradient by the released formulation: backward through the network to the images."""
    images = images.clone().requires_grad_()
    feature_map = network.trunk(images)
    logits = network.head.logits(feature_map, kept)
    chosen = logits.gather(1, top[:, None]).sum()
    gradient, _ = torch.autograd.grad(chosen, [feature_map, images], create_graph=True)
    return logits, feature_map, gradient


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("maps", "share"), [("ewa", 0.0), ("swa", 0.0), ("swa", 0.5), ("neuron", 0.0)])
def test_loss_and_gradients_are_those_of_the_released_formulation(kind, dropout, maps, share):
    images, labels = batch()
    matched = objective(maps, kind=kind, **({"dropped_share": share} if share else {})).eval()
    student, teacher = matched.student, matched.teacher.network
    student.head.train(dropout)
    torch.manual_seed(5)
    parts = matched(images, labels)
    torch.manual_seed(5)
    kept = student.head.draw(student.trunk(images))
    assert (kept is not None) == dropout
    top = teacher(images).argmax(1)
    logits, fs, gs = released(student, images, top, kept)
    _, ft, gt = released(teacher, images, top, None)
    if maps == "ewa":
        ms, mt = fs.square().mean(1), ft.square().mean(1)
    else:
        weights = (gs, gt) if maps == "neuron" else (g.sum((2, 3), keepdim=True) for g in (gs, gt))
        left = kept_channels(6, share, torch.Generator().manual_seed(0)).double()[:, None, None]
        ms, mt = ((w * f).sum(1).clamp(min=0) for w, f in zip(weights, (fs, ft * left), strict=True))
    ms, mt = F.normalize(ms.flatten(1)), F.normalize(mt.flatten(1))
    expected = (ms - mt.detach()).square().mean()
    torch.testing.assert_close(parts["matching"], expected, atol=1e-10, rtol=0)
    total = F.multilabel_soft_margin_loss(logits, labels) + 50.0 * expected
    torch.testing.assert_close(parts["loss"], total, atol=1e-10, rtol=0)
    parameters = list(student.parameters())
    gradients = torch.autograd.grad(parts["loss"], parameters)
    for gradient, reference in zip(gradients, torch.autograd.grad(total, parameters), strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-10, rtol=0)


class _Once(torch.autograd.Function):
    """The identity, whose gradient cannot be differentiated again; a compiled trunk is like that."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        return gradient.clone()


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("maps", ["swa", "neuron", "input_gradient"])
def test_the_trunk_is_differentiated_once_where_the_matcher_says_so(kind, maps, monkeypatch):
    images, labels = batch()
    matched, free = (objective(maps, kind=kind).eval() for _ in range(2))
    whole = matched.student._run

    def once(*arguments):
        return {name: _Once.apply(features) for name, features in whole(*arguments).items()}

    monkeypatch.setattr(matched.student, "_run", once)
    assert matched.differentiates_trunk_twice == (maps == "input_gradient")
    free(images, labels)["loss"].backward()
    if matched.differentiates_trunk_twice:
        with pytest.raises(RuntimeError, match="once_differentiable"):
            matched(images, labels)["loss"].backward()
        return
    matched(images, labels)["loss"].backward()
    for ours, theirs in zip(matched.student.parameters(), free.student.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("maps", ["swa", "neuron", "input_gradient", "integrated_gradients", "loss_gradient"])
def test_the_gradient_is_that_of_finite_differences(maps, kind):
    # Double backward included: the loss is moved along a random direction of all parameters.
    images, labels = batch()
    matched = objective(maps, kind=kind).eval()
    parameters = list(matched.student.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(matched(images, labels)["matching"], parameters, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)
    step, values = 1e-7, []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(sign * step * d)
        values.append(matched(images, labels)["matching"].detach())
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.sub_(sign * step * d)
    numeric = (values[0] - values[1]) / (2 * step)
    assert slope.abs() > 0
    torch.testing.assert_close(slope, numeric, rtol=1e-4, atol=1e-7)


def test_the_head_learns_from_matching_alone():
    # The student's map is differentiated through alpha too: without double backward the head's gradient would be 0.
    images, labels = batch()
    matched = objective("swa").eval()
    (gradient,) = torch.autograd.grad(matched(images, labels)["matching"], [matched.student.head.linear.weight])
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("maps", EVERY_MAP)
def test_a_student_that_is_its_teacher_has_no_matching_loss(maps, kind):
    images, labels = batch()
    same = CompressionObjective(MAKERS[kind](1), MAKERS[kind](1), settings_of(maps, strength=1.0)).eval()
    assert same(images, labels)["matching"].item() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("maps", EVERY_MAP)
def test_the_explained_class_is_the_teachers_and_the_teacher_stays_as_it_is(maps, kind):
    images, labels = batch()
    matched = objective(maps, kind=kind).train()
    before = {name: tensor.clone() for name, tensor in matched.teacher.state_dict().items()}
    parts = matched(images, labels)
    parts["loss"].backward()
    assert not any(module.training for module in matched.teacher.modules())
    assert all(module.training for module in matched.student.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in matched.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in matched.teacher.parameters())
    # Another top class of the student's, with the same sensitivities, changes nothing that is matched.
    quiet = objective(maps, kind=kind).eval()
    with torch.no_grad():
        quiet.student.head.linear.bias += torch.tensor([100.0, 0, 0])
    if maps != "loss_gradient":  # which explains the loss, not a class
        torch.testing.assert_close(
            quiet(images, labels)["matching"], objective(maps, kind=kind).eval()(images, labels)["matching"]
        )


@pytest.mark.parametrize("kind", MAKERS)
def test_without_student_dropout_the_map_is_that_of_the_whole_head(kind):
    images, labels = batch()
    matched = objective("swa", kind=kind, student_dropout=False)
    matched.student.head.train()  # the trunk's statistics stay fixed
    noisy = matched(images, labels)["matching"]
    torch.testing.assert_close(noisy, matched.eval()(images, labels)["matching"])
    assert not torch.allclose(noisy, objective("swa", kind=kind).train()(images, labels)["matching"])


def test_the_map_sees_the_dropout_of_the_tasks_forward():
    images, labels = batch()
    matched = objective("swa", strength=1.0)
    matched.student.head.train()
    torch.manual_seed(5)
    parts = matched(images, labels)
    torch.manual_seed(5)
    head, features = matched.student.head, matched.student.trunk(images)
    kept = 2.0 * (torch.rand(4, 24) >= 0.5)
    logits = F.linear(features.flatten(1) * kept, head.linear.weight, head.linear.bias)
    torch.testing.assert_close(parts["task"], F.multilabel_soft_margin_loss(logits, labels))
    top = matched.teacher.network(images).argmax(1)
    alpha = (head.linear.weight[top] * kept).view(4, 6, 2, 2).sum((2, 3))
    student = F.normalize((alpha[:, :, None, None] * features).sum(1).clamp_min(0).flatten(1))
    weight = matched.teacher.network.head.linear.weight.view(3, 6, 2, 2).sum((2, 3))[top]
    teacher = (weight[:, :, None, None] * matched.teacher.network.trunk(images)).sum(1).clamp_min(0).flatten(1)
    torch.testing.assert_close(parts["matching"], (student - F.normalize(teacher)).square().mean())


def test_several_layers_are_averaged():
    images, labels = batch()
    single = [objective("swa", layers=[layer]).eval()(images, labels)["matching"] for layer in ("conv2", "pool2")]
    both = objective("swa", layers=["conv2", "pool2"]).eval()(images, labels)["matching"]
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)
    assert not torch.allclose(*single)


def test_only_images_that_the_teacher_gets_right_are_matched():
    images, labels = batch()
    matched = objective("swa", images="right").eval()
    top = matched.teacher.network(images).argmax(1)
    labels[:] = 0
    labels[0, top[0]] = labels[2, top[2]] = 1
    labels[1, (top[1] + 1) % 3] = 1
    alone = objective("swa").eval()(images[[0, 2]], labels[[0, 2]])["matching"]
    torch.testing.assert_close(matched(images, labels)["matching"], alone)


def test_sswa_draws_from_a_generator_of_its_own():
    # So every method of matching sees the same dropout masks.
    images, labels = batch()
    drawn = []
    for share in ({}, {"dropped_share": 0.5}):
        matched = objective("swa", **share).train()
        torch.manual_seed(11)
        drawn.append(matched(images, labels)["task"])
    torch.testing.assert_close(*drawn)
    matched = objective("swa", dropped_share=0.5).eval()
    first = [matched(images, labels)["matching"] for _ in range(4)]
    matched.start_epoch(0)
    again = [matched(images, labels)["matching"] for _ in range(4)]
    assert first == again
    assert len({value.item() for value in first}) > 1


def test_networks_of_different_widths_match_because_maps_collapse_channels():
    torch.manual_seed(0)
    narrow = VGG((2, "M", 3, "M"), classes=3, input_size=8, dropout=0.5).double()
    images, labels = batch()
    for maps in EVERY_MAP:
        for teacher in (make_network(2), make_hidden(2)):
            parts = CompressionObjective(narrow, teacher, settings_of(maps, strength=1.0))(images, labels)
            assert parts["matching"] > 0


def test_a_layer_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"the student has no layer pool3; it has conv1, pool1, conv2, pool2"):
        objective("swa", layers=["pool3"])


def test_naive_is_the_task_alone_and_needs_no_teacher():
    images, labels = batch()
    naive = objective("none").eval()
    naive.teacher = None
    parts = naive(images, labels)
    assert set(parts) == {"loss", "task", "logits"}
    assert torch.equal(parts["logits"], naive.student(images))
    torch.testing.assert_close(parts["loss"], F.multilabel_soft_margin_loss(naive.student(images), labels))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_divergence_of_bernoulli_distributions(temperature):
    student, teacher = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    p = torch.distributions.Bernoulli(logits=teacher / temperature)
    q = torch.distributions.Bernoulli(logits=student / temperature)
    expected = torch.distributions.kl_divergence(p, q).mean()
    torch.testing.assert_close(binary_distillation(student, teacher, temperature), expected, atol=1e-12, rtol=0)


def test_distillation_is_finite_for_any_logits_and_zero_between_equals():
    extreme = torch.tensor([[1e4, -1e4, 0.0]])
    assert torch.isfinite(binary_distillation(extreme, -extreme, 4.0))
    assert binary_distillation(extreme, extreme, 4.0) == 0


def test_the_mixture_is_weighted_as_published():
    images, labels = batch()
    matched = objective("swa", distillation=Logits(temperature=4.0, weight=0.9)).eval()
    parts = matched(images, labels)
    expected = 0.9 * 16 * parts["distillation"] + 0.1 * parts["task"] + 50.0 * parts["matching"]
    torch.testing.assert_close(parts["loss"], expected)
    logits, teacher = matched.student(images), matched.teacher.network(images)
    torch.testing.assert_close(parts["distillation"], binary_distillation(logits, teacher, 4.0))
    torch.testing.assert_close(parts["logits"], logits)
    naive = objective("none", distillation=Logits(temperature=4.0, weight=0.9)).eval()(images, labels)
    torch.testing.assert_close(naive["loss"], 0.9 * 16 * naive["distillation"] + 0.1 * naive["task"])


def test_losses_of_low_precision_logits_are_computed_in_float32():
    # What bfloat16 itself loses stays; what the loss would lose on top must not.
    student, teacher = torch.randn(64, 20) * 4, torch.randn(64, 20) * 4
    labels = torch.rand(64, 20).round()
    low = student.bfloat16(), teacher.bfloat16()
    exact = [tensor.double() for tensor in low]
    for actual, expected in (
        (binary_distillation(*low, 4.0), binary_distillation(*exact, 4.0)),
        (task_loss(low[0], labels), task_loss(exact[0], labels.double())),
        (map_distance(low[0][None], low[1][None])[0], map_distance(exact[0][None], exact[1][None])[0]),
    ):
        assert actual.dtype == torch.float32
        assert actual.item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_class_per_image_is_learnt_by_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 1, 2])
    shares = [torch.exp(row) / torch.exp(row).sum() for row in logits]
    by_hand = -sum(torch.log(share[label]) for share, label in zip(shares, labels, strict=True))
    torch.testing.assert_close(task_loss(logits, labels), by_hand / 5)


def test_distillation_of_classes_that_exclude_each_other_is_the_divergence_of_softened_distributions():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    p, q = (scipy.special.softmax(logits.numpy() / 3.0, axis=1) for logits in (teacher, student))
    expected = scipy.stats.entropy(p, q, axis=1).mean()
    assert float(exclusive_distillation(student, teacher, 3.0)) == pytest.approx(expected, rel=1e-12)
    assert float(exclusive_distillation(teacher, teacher, 3.0)) == 0
    student.requires_grad_()
    teacher.requires_grad_()
    exclusive_distillation(student, teacher, 3.0).backward()
    assert teacher.grad is None


def test_the_whole_loss_where_an_image_has_one_class():
    images = batch()[0]
    labels = torch.tensor([0, 2, 1, 1])
    matched = objective("swa", distillation=Logits(temperature=4.0, weight=0.9), images="right").eval()
    parts = matched(images, labels)
    student, teacher = matched.student(images), matched.teacher.network(images)
    torch.testing.assert_close(parts["task"], F.cross_entropy(student, labels))
    whole = 0.9 * 16 * exclusive_distillation(student, teacher, 4.0) + 0.1 * parts["task"] + 50 * parts["matching"]
    torch.testing.assert_close(parts["loss"], whole)
