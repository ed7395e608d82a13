"""Linear CKA beside its definition by features, and what it must not see."""

import numpy as np
import pytest
import torch

from attribution_preservation.metrics.representation import gram, linear_cka


def layers(count=12):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 5)), generator.normal(size=(count, 7))


def cka(x, y):
    return linear_cka(gram(torch.from_numpy(x)), gram(torch.from_numpy(y)))


def test_it_is_the_definition_by_features():
    x, y = layers()
    x0, y0 = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(y0.T @ x0) ** 2 / (np.linalg.norm(x0.T @ x0) * np.linalg.norm(y0.T @ y0))
    assert cka(x, y) == pytest.approx(expected, rel=1e-12)


def test_rotation_scale_and_offset_do_not_count():
    x, y = layers()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert cka(x, 3 * x @ rotation + 2) == pytest.approx(1, rel=1e-12)
    assert cka(x @ rotation, y) == pytest.approx(cka(x, y), rel=1e-12)
    assert cka(x, x @ np.diag([1, 1, 1, 0, 0])) < 0.99  # what is lost does


def test_positions_are_features():
    x, y = layers(8)
    assert cka(x.reshape(8, 5, 1, 1), y.reshape(8, 7, 1)) == pytest.approx(cka(x, y))


def test_a_layer_that_is_the_same_for_every_image_has_none():
    assert np.isnan(cka(np.ones((6, 3)), layers(6)[1]))
