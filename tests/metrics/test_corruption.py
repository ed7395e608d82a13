"""Noise where it belongs, and networks that look at one region alone."""

import numpy as np
import pytest
import torch

from attribution_preservation.metrics.corruption import corrupted, noise_scores, regions

MASK = np.zeros((4, 8, 8), dtype=np.uint8)
MASK[:, :4] = 2  # the upper half is the object
MASK[:, 4] = 255


def test_void_is_neither_background_nor_object():
    pixels = regions(MASK)
    assert pixels["object"].sum() == 4 * 32
    assert pixels["background"].sum() == 4 * 24
    assert not (pixels["object"] | pixels["background"])[:, 4].any()


def test_noise_stays_in_its_region_and_has_its_deviation():
    images = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    region = np.zeros((4, 64, 64), dtype=bool)
    region[:, :32] = True
    noisy = corrupted(images, region, 20.0, 0)
    assert noisy.dtype == torch.uint8
    assert torch.equal(noisy[:, :, 32:], images[:, :, 32:])
    noise = noisy[:, :, :32].double() - 128
    assert float(noise.mean()) == pytest.approx(0, abs=0.5)
    assert float(noise.std()) == pytest.approx(20, rel=0.02)
    assert torch.equal(corrupted(images, region, 20.0, 0), noisy)
    assert not torch.equal(corrupted(images, region, 20.0, 1), noisy)


def test_a_network_that_looks_at_the_object_loses_nothing_in_the_background():
    generator = np.random.default_rng(0)
    labels = generator.permuted(np.tile([1.0, 0.0], (20, 1)), axis=1)
    images = torch.full((20, 3, 8, 8), 100, dtype=torch.uint8)
    images[:, 0, :4] = torch.from_numpy(100 + 40 * labels[:, 0]).to(torch.uint8)[:, None, None]
    images[:, 0, 5:] = images[:, 0, :3]  # both regions show the class
    masks = np.repeat(MASK[:1], 20, axis=0)

    def predict(rows):
        def network(images):
            seen = images[:, 0, rows].double().mean(dim=(1, 2)) - 120
            return torch.stack([seen, -seen], dim=1)

        return network

    above, below = (
        noise_scores(predict(rows), images, labels, masks, [500.0], 0) for rows in (slice(0, 4), slice(5, 8))
    )
    for (whole, of_images), spared, hit in ((above, "background", "object"), (below, "object", "background")):
        assert whole[f"mean_ap_lost@{spared}/500"] == 0
        assert whole[f"mean_ap_lost@{hit}/500"] > 10
        assert not of_images[f"ap_lost@{spared}/500"].any()
        assert of_images[f"ap_lost@{hit}/500"].shape == (20,)
        assert of_images[f"ap_lost@{hit}/500"].mean() > 10
