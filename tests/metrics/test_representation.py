"""Hidden layers compared: debiased CKA beside its definition, and what it must not see."""

from itertools import permutations

import numpy as np
import pytest
import torch

from attribution_preservation.metrics.representation import alike_by_image, gram, linear_cka


def layers(count=12):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 5)), generator.normal(size=(count, 7))


def cka(x, y):
    return linear_cka(gram(torch.from_numpy(x)), gram(torch.from_numpy(y)))


def hsic(x, y):
    """The U-statistic itself: a mean over all ordered choices of four images (Gretton et al. 2005)."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    terms = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(len(x)), 4)]
    return np.mean(terms)


def test_it_is_the_mean_over_all_choices_of_four_images():
    x, y = layers(7)
    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert cka(x, y) == pytest.approx(expected, rel=1e-10)


def test_unrelated_layers_are_at_zero_however_wide():
    generator = np.random.default_rng(1)
    similarities = [cka(generator.normal(size=(30, 2000)), generator.normal(size=(30, 2000))) for _ in range(20)]
    assert np.mean(similarities) == pytest.approx(0, abs=0.02)  # without the correction it would be 0.98


def test_rotation_scale_and_offset_do_not_count():
    x, y = layers()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert cka(x, 3 * x @ rotation + 2) == pytest.approx(1, rel=1e-12)
    assert cka(x @ rotation, y) == pytest.approx(cka(x, y), rel=1e-10)
    assert cka(x, x @ np.diag([1, 1, 1, 0, 0])) < 0.99  # what is lost does


def test_positions_are_features():
    x, y = layers(8)
    assert cka(x.reshape(8, 5, 1, 1), y.reshape(8, 7, 1)) == pytest.approx(cka(x, y))


def test_a_layer_that_is_the_same_for_every_image_has_none():
    assert np.isnan(cka(np.ones((6, 3)), layers(6)[1]))


def test_an_image_is_as_alike_as_the_company_that_it_keeps():
    x, y = layers(9)
    similarities = alike_by_image(gram(torch.from_numpy(x)), gram(torch.from_numpy(y)))
    similar = [(z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y)]
    for image in range(9):
        rows = [np.delete(of[image], image) for of in similar]
        assert similarities[image] == pytest.approx(np.corrcoef(*rows)[0, 1], rel=1e-10)
    assert alike_by_image(*[gram(torch.from_numpy(x))] * 2) == pytest.approx(np.ones(9))
