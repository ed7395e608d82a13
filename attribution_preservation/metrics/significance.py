"""Is a difference between two networks more than chance? A paired test over images and seeds.

Two things are drawn by chance and could have come out otherwise: the evaluation images, the same for every seed, and
the seeds, each a run of its own from the teacher on. The bootstrap therefore draws both, images for all seeds
together: pairs of one image are never torn apart, and what is compared is always compared on the same images.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

MINIMUM_SEEDS = 3
MINIMUM_IMAGES = 10


@dataclass(frozen=True)
class PairedTest:
    """A difference between two methods, and how sure it is.

    Attributes:
        difference: mean over seeds.
        low, high: its confidence interval; NaN where the seeds or images are too few for a test.
        p: two-sided, of no difference; NaN where there is no test.
        seeds: how many have a difference.
    """

    difference: float
    low: float
    high: float
    p: float
    seeds: int


def image_weights(count: int, resamples: int, seed: int) -> np.ndarray:
    """How often each image occurs: once in the first row, then in samples drawn with replacement.

    Each draws one less than there are images, which makes the variance of a mean over them unbiased (McCarthy and
    Snowden 1985, The bootstrap and finite population sampling).

    Returns:
        float64 [1 + resamples, count].

    Raises:
        ValueError: fewer than two images.
    """
    if count < 2:
        raise ValueError("one image cannot be resampled")
    drawn = np.random.default_rng(seed).multinomial(count - 1, np.full(count, 1 / count), size=resamples)
    return np.concatenate([np.ones((1, count)), drawn])


def resampled_means(values: np.ndarray, image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of the pairs' scores in every row of weights.

    Args:
        values: scores of some pairs by several metrics, [n, K]; those that are NaN do not count.
        image: each pair's image, [n].
        weights: see `image_weights`, [R, N].

    Returns:
        [R, K]. Where the pairs that count lie on fewer than MINIMUM_IMAGES images, NaN in all rows but the first, and
        where none was drawn.
    """
    known = ~np.isnan(values)
    sums, counts = np.zeros((2, weights.shape[1], values.shape[1]))
    np.add.at(sums, image, np.where(known, values, 0.0))
    np.add.at(counts, image, known)
    drawn = weights @ counts
    means = np.divide(weights @ sums, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    means[1:, (counts > 0).sum(axis=0) < MINIMUM_IMAGES] = np.nan
    return means


def paired_test(differences: np.ndarray, images: int, seed: int, confidence: float = 0.95) -> PairedTest:
    """Test a difference between two methods by a hierarchical bootstrap with few seeds.

    The bootstrap (images in the rows, one seed less than there are, with replacement, in each) gives the standard
    error. Its percentiles would not do: those of three seeds never lie beyond the extreme one, so that chance alone
    gives three differences of one sign, and p = 0, in every fourth comparison. Instead the difference is taken as
    many times its standard error as Student's t allows, with the degrees of freedom that belong to the mixture of the
    two variances (Satterthwaite 1946): seeds - 1 where seeds differ most, images - 1 where images do. Noise of single
    pairs counts in both, which errs on the safe side (Owen 2007, The pigeonhole bootstrap).

    Args:
        differences: of each seed's figures, [1 + resamples, S], over all images in the first row, over the same
            resampled images for every seed in the others (see `image_weights`); NaN where a seed has none.
        images: how many were resampled.
        seed: of the drawing of seeds.
        confidence: of the interval.
    """
    kept = differences[:, ~np.isnan(differences[0])]
    seeds = kept.shape[1]
    if not seeds:
        return PairedTest(np.nan, np.nan, np.nan, np.nan, 0)
    mean = float(kept[0].mean())
    if seeds < MINIMUM_SEEDS or np.isnan(kept).any():
        return PairedTest(mean, np.nan, np.nan, np.nan, seeds)
    resamples = len(kept) - 1
    drawn = np.random.default_rng(seed).integers(seeds, size=(resamples, seeds - 1))
    total = float(np.take_along_axis(kept[1:], drawn, axis=1).mean(axis=1).var(ddof=1))
    if total == 0.0:  # the same everywhere: two networks that score alike, or differ by a constant
        return PairedTest(mean, mean, mean, 1.0 if mean == 0 else 0.0, seeds)
    of_seeds = min(float(kept[0].var(ddof=1)) / seeds, total)
    freedom = total**2 / (of_seeds**2 / (seeds - 1) + (total - of_seeds) ** 2 / (images - 1))
    error = np.sqrt(total)
    reach = float(student_t.ppf((1 + confidence) / 2, freedom)) * error
    p = 2 * float(student_t.sf(abs(mean) / error, freedom))
    return PairedTest(mean, mean - reach, mean + reach, p, seeds)
