"""How much worse a network predicts if noise corrupts either the background or the objects of its images."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from attribution_preservation.data.voc import VOID
from attribution_preservation.metrics.catalogue import at
from attribution_preservation.metrics.prediction import image_ap, mean_ap


def regions(mask: np.ndarray) -> dict[str, np.ndarray]:
    """The pixels of masks (uint8, any shape) that are `background` and those that are `object`; void is neither."""
    return {"background": mask == 0, "object": (mask > 0) & (mask != VOID)}


def corrupted(images: torch.Tensor, region: np.ndarray, deviation: float, seed: int) -> torch.Tensor:
    """Images with Gaussian noise in a region.

    Args:
        images: uint8 [N, 3, S, S].
        region: bool [N, S, S].
        deviation: standard deviation of the noise, in steps of the 8-bit scale. Noisy values are cut off at 0 and 255.
        seed: seed of the noise, which is the same for every region.

    Returns:
        uint8 [N, 3, S, S]
    """
    noise = np.random.default_rng(seed).standard_normal(images.shape, dtype=np.float32)
    noisy = images.float() + deviation * torch.from_numpy(noise)
    noisy = noisy.round_().clamp_(0, 255).to(torch.uint8)
    return torch.where(torch.from_numpy(region)[:, None], noisy, images)


@torch.no_grad()
def noise_scores(
    predict: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    labels: np.ndarray,
    masks: np.ndarray,
    deviations: Sequence[float],
    seed: int,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Loss of average precision by noise in the background, and in the objects.

    Args:
        predict: function from uint8 images [B, 3, S, S] to logits [B, C].
        images: uint8 [N, 3, S, S].
        labels: 0 or 1, [N, C].
        masks: uint8 [N, S, S].
        deviations, seed: see `corrupted`.

    Returns:
        The loss of mAP in points, `mean_ap_lost` at REGION/DEVIATION, and of each image's average precision, `ap_lost`
        at REGION/DEVIATION, [N]. Negative if noise helps.
    """
    clean = predict(images).detach().numpy()
    whole, of_images = {}, {}
    for region, pixels in regions(masks).items():
        for deviation in deviations:
            noisy = predict(corrupted(images, pixels, deviation, seed)).detach().numpy()
            where = f"{region}/{deviation:g}"
            whole[at("mean_ap_lost", where)] = mean_ap(clean, labels) - mean_ap(noisy, labels)
            of_images[at("ap_lost", where)] = image_ap(clean, labels) - image_ap(noisy, labels)
    return whole, of_images
