"""Drawing of generated scenes: handwritten digits on a textured, cluttered background."""

import numpy as np
from PIL import Image

TRAIN_SAMPLES = 1300  # of 1797; the rest is for evaluation
INK = 0.5  # share of full ink above which a pixel belongs to a stroke


def divided_handwriting(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """scikit-learn's handwritten digits, split so that no sample is in both training and evaluation.

    Returns:
        For the parts `train` and `val`: ink from 0 to 1, [N, 8, 8], and the digits, [N].
    """
    # Imported here because it takes a second, and checking a profile imports all data sources without needing it.
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
        """Draw handwriting, [8, 8], into a square, and return its ink there, [side, side]."""
        enlarged = Image.fromarray(sample.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        ink = np.clip(np.asarray(enlarged), 0, 1)
        window = np.s_[top : top + side, left : left + side]
        self.image[window] = self.image[window] * (1 - ink[..., None]) + ink[..., None] * color
        return ink

    @property
    def picture(self) -> Image.Image:
        """The image with eight bits per colour."""
        return Image.fromarray((self.image * 255).round().astype(np.uint8))
