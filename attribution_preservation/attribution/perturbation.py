"""Blurred images, which replace hidden pixels in the methods that optimise a mask by gradients through the network."""

import torch

PUBLISHED_SIZE = 224  # pixels; published lengths are for this size
_BLUR = 10.0


def blurred(images: torch.Tensor) -> torch.Tensor:
    """Images [B, 3, S, S], blurred with a sigma of 10 pixels of 224."""
    # Imported here because torchvision takes two seconds and checking a profile does not need it.
    from torchvision.transforms.v2.functional import gaussian_blur

    sigma = _BLUR * images.shape[-1] / PUBLISHED_SIZE
    width = 2 * int(3 * sigma) + 1
    return gaussian_blur(images, [width, width], [sigma, sigma])
