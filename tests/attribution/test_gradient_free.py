"""Methods that treat the network as a box: what they must find in a network whose answer is known."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.distributions import Normal, kl_divergence

from attribution_preservation.attribution.extremal_perturbation import extremal_perturbation
from attribution_preservation.attribution.information_bottleneck import describe_units, information_bottleneck
from attribution_preservation.attribution.meaningful_perturbation import meaningful_perturbation
from attribution_preservation.attribution.rise import random_masks, rise
from attribution_preservation.models.vgg import VGG

SIZE = 32
OBJECT = (slice(4, 12), slice(16, 28))


@pytest.fixture
def bright_square():
    """Class 0 is as probable as OBJECT is bright; class 1 never is. Nothing else in the image matters."""
    network = VGG((2, "M"), classes=2, input_size=SIZE, dropout=0.0).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.trunk[0].weight[0, :, 1, 1] = 1.0
        network.trunk[1].weight.fill_(1.0)
        where = torch.zeros(2, SIZE // 2, SIZE // 2, dtype=torch.float64)
        where[0, 2:6, 8:14] = 0.1
        network.head.linear.weight[0] = where.flatten()
        network.head.linear.bias.fill_(-4.0)
    return network


def scene() -> torch.Tensor:
    image = 0.2 * torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    image[..., 4:12, 16:28] = 1.0
    image[..., 18:26, 4:16] = 1.0  # as bright, and of no class: a map of brightness would be wrong
    return image


def references() -> torch.Tensor:
    return torch.rand(16, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


FINDERS = {
    "rise": lambda *question: rise(*question, masks=400, cells=6, kept=0.5),
    "meaningful": lambda *question: meaningful_perturbation(*question, steps=60, cells=16),
    "extremal": lambda *question: extremal_perturbation(*question, steps=150, cells=10, areas=[0.1, 0.2]),
    "bottleneck": lambda *question: information_bottleneck(
        *question, units=describe_units(question[0], "conv1", references()), steps=20, samples=4, weight=0.1
    ),
}


@pytest.mark.parametrize("name", FINDERS)
def test_the_map_lies_on_what_the_class_depends_on(bright_square, name):
    assert bright_square(scene())[0, 0] > 1
    one_map = FINDERS[name](bright_square, scene(), torch.tensor([0]))[0]
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[OBJECT] = True
    assert one_map.shape == (SIZE, SIZE)
    assert roc_auc_score(inside.flatten(), one_map.flatten()) > 0.95


def test_rise_is_the_mean_of_its_masks_by_what_they_show(bright_square):
    batch = torch.cat([scene(), 0.5 * scene()])
    rows, classes = torch.tensor([1, 0, 1]), torch.tensor([0, 0, 1])
    maps = rise(bright_square, batch, classes, rows, masks=7, cells=4, kept=0.4, seed=3)
    expected = torch.zeros(3, SIZE, SIZE, dtype=torch.float64)
    for mask in random_masks(7, 4, 0.4, SIZE, 3).double():
        for pair in range(3):
            probability = torch.sigmoid(bright_square(batch[rows[pair]][None] * mask)[0, classes[pair]])
            expected[pair] += probability.detach() * mask / (7 * 0.4)
    torch.testing.assert_close(maps, expected)


def test_rises_masks_show_each_pixel_as_often_as_asked():
    masks = random_masks(4000, 6, 0.3, SIZE, 0)
    assert masks.shape == (4000, SIZE, SIZE)
    assert 0 <= masks.min() <= masks.max() <= 1
    assert abs(float(masks.mean()) - 0.3) < 0.01
    assert (masks.mean(0) - 0.3).abs().max() < 0.03


def test_extremal_masks_have_the_areas_that_were_asked_for(bright_square):
    maps = extremal_perturbation(bright_square, scene(), torch.tensor([0]), steps=200, cells=10, areas=[0.15])
    assert abs(float(maps.mean()) - 0.15) < 0.05


def test_meaningful_perturbation_hides_nothing_where_nothing_matters(bright_square):
    assert meaningful_perturbation(bright_square, scene(), torch.tensor([1]), steps=40, cells=16).max() < 1e-3


def test_the_bottlenecks_bits_are_the_divergence_of_its_noise(bright_square):
    # With no step taken the mask is the start, sigmoid(5), whatever its blur.
    maps = information_bottleneck(
        bright_square,
        scene(),
        torch.tensor([0]),
        units=describe_units(bright_square, "conv1", references()),
        steps=0,
        samples=1,
    )
    usual = bright_square.until("conv1", references()).detach()
    mean, deviation = usual.mean(0), usual.std(0, correction=0).clamp(min=0.01)
    value = bright_square.until("conv1", scene())[0].detach()
    passing = torch.sigmoid(torch.tensor(5.0, dtype=torch.float64))
    alive = (usual != 0).double().mean(0) > 0.01
    mixed = Normal((passing * value + (1 - passing) * mean)[alive], ((1 - passing) * deviation)[alive])
    bits = kl_divergence(mixed, Normal(mean[alive], deviation[alive])) / torch.log(torch.tensor(2.0))
    torch.testing.assert_close(maps.sum(), bits.sum(), rtol=1e-6, atol=1e-6)


def test_the_bottleneck_names_the_layers_that_there_are(bright_square):
    with pytest.raises(ValueError, match="no layer conv9; it has conv1, pool1"):
        describe_units(bright_square, "conv9", references())


def test_units_are_described_over_all_references_with_the_published_floors(bright_square):
    images = (
        references()[:1].repeat(200, 1, 1, 1) * torch.linspace(0.5, 1, 200, dtype=torch.float64)[:, None, None, None]
    )
    with torch.no_grad():
        bright_square.trunk[1].bias[1] = -1e9  # the second channel is never active but for one image in 200
        bright_square.trunk[0].weight[1, 0, 1, 1] = 1e12
        images[1:, 0] *= 1e-12
        units = describe_units(bright_square, "conv1", images)
        values = bright_square.until("conv1", images)
    torch.testing.assert_close(units.mean, values.mean(0))
    torch.testing.assert_close(units.deviation, values.std(0, correction=0).clamp(min=0.01))
    assert units.deviation.min() == 0.01
    assert units.active[0].any()
    assert not units.active[1].any()


def test_a_step_of_the_bottleneck_is_adams_on_the_blurred_mask(bright_square):
    units = describe_units(bright_square, "conv1", references())
    maps = information_bottleneck(
        bright_square, scene(), torch.tensor([0]), units=units, steps=1, samples=2, weight=3.0, seed=5
    )
    value = bright_square.until("conv1", scene()).detach()
    noise = torch.randn(2, 1, *value.shape[1:], generator=torch.Generator().manual_seed(5)).double()
    alpha = torch.full_like(value, 5.0).requires_grad_()

    def divergence(mask):
        mixed = Normal(mask * value + (1 - mask) * units.mean, (1 - mask) * units.deviation)
        return kl_divergence(mixed, Normal(units.mean, units.deviation)) * units.active

    mask = gaussian_filter(alpha.sigmoid())
    mixed = units.active * (mask * value + (1 - mask) * (noise * units.deviation + units.mean))
    logits = bright_square.head(bright_square.trunk[bright_square.layer_index["conv1"] + 1 :](mixed[:, 0]))
    loss = -torch.log(logits[:, 0].sigmoid()).mean() + 3.0 * divergence(mask).mean()
    loss.backward()
    stepped = 5.0 - alpha.grad / (alpha.grad.abs() + 1e-8)  # Adam's first step, learning rate 1
    expected = divergence(gaussian_filter(stepped.sigmoid())).sum(1) / torch.log(torch.tensor(2.0))
    torch.testing.assert_close(maps, expected.detach(), rtol=1e-6, atol=1e-9)


def gaussian_filter(values):
    """Five taps of a Gaussian of deviation 1 in each direction, reflected at the edges."""
    taps = torch.exp(-torch.arange(-2, 3, dtype=values.dtype).square() / 2)
    taps = taps / taps.sum()
    padded = torch.nn.functional.pad(values, (2, 2, 2, 2), mode="reflect")
    channels = values.shape[1]
    down = torch.nn.functional.conv2d(padded, taps.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    return torch.nn.functional.conv2d(down, taps.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
