"""What a mask hides in the methods that optimise one: their gradient is the mask's, through the network as a whole."""

import torch

PUBLISHED_SIZE = 224  # pixels, for which lengths are published
_BLUR = 10.0


def blurred(images: torch.Tensor) -> torch.Tensor:
    """Images [B, 3, S, S], blurred as far as at 224 pixels a sigma of 10 does."""
    # Imported here: torchvision takes two seconds, for which the check of a profile need not wait.
    from torchvision.transforms.v2.functional import gaussian_blur

    sigma = _BLUR * images.shape[-1] / PUBLISHED_SIZE
    width = 2 * int(3 * sigma) + 1
    return gaussian_blur(images, [width, width], [sigma, sigma])
