"""What generated scenes are drawn with: real handwriting on textured, cluttered ground."""

import numpy as np
from PIL import Image

TRAIN_SAMPLES = 1300  # of 1797; the rest is for evaluation
INK = 0.5  # share of full ink from which a pixel is stroke


def divided_handwriting(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """scikit-learn's handwritten digits, divided so that no sample is seen in training and in evaluation.

    Returns:
        By part, `train` and `val`: ink from 0 to 1, [N, 8, 8], and which digit it is, [N].
    """
    # Imported here: it takes a second, and the check of a profile, which knows all data sources, needs none of it.
    from sklearn.datasets import load_digits

    handwriting, digits = load_digits(return_X_y=True)
    handwriting = handwriting.reshape(-1, 8, 8) / 16.0
    order = np.random.default_rng([seed, 0]).permutation(len(digits))
    parts = {"train": order[:TRAIN_SAMPLES], "val": order[TRAIN_SAMPLES:]}
    return {part: (handwriting[samples], digits[samples]) for part, samples in parts.items()}


class Canvas:
    """A smooth random colour texture at half brightness with one to three patches of plain colour as clutter.

    Attributes:
        image: colours from 0 to 1, [H, W, 3].
    """

    def __init__(self, height: int, width: int, random: np.random.Generator) -> None:
        coarse = Image.fromarray(random.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        self.image = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / 255.0 * 0.5
        shorter = min(height, width)
        for _ in range(random.integers(1, 4)):
            high, wide = (int(v) for v in random.integers(shorter // 16, shorter // 6, 2))
            top = int(random.integers(0, height - high))
            left = int(random.integers(0, width - wide))
            self.image[top : top + high, left : left + wide] = random.uniform(0, 1, 3)

    def write(self, sample: np.ndarray, color: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
        """Draw handwriting, [8, 8], into a square; its ink in there, [side, side]."""
        enlarged = Image.fromarray(sample.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        ink = np.clip(np.asarray(enlarged), 0, 1)
        window = np.s_[top : top + side, left : left + side]
        self.image[window] = self.image[window] * (1 - ink[..., None]) + ink[..., None] * color
        return ink

    @property
    def picture(self) -> Image.Image:
        """As eight bits of each colour."""
        return Image.fromarray((self.image * 255).round().astype(np.uint8))
