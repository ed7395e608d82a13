"""Paired significance test of the difference between two networks, over images and seeds.

Two samples are random: the evaluation images, which are the same for every seed, and the seeds, each of which is a
separate run that starts with its teacher. The bootstrap therefore resamples both. It draws the same images for all
seeds, so pairs of one image stay together and networks are always compared on the same images.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

MINIMUM_SEEDS = 3
MINIMUM_IMAGES = 10
_EXACT_BITS = 53  # of a float64's significand
_LEAST_BITS = 30  # two integers of 30 bits hold a value as well as a float64 does
_LEAST_EXPONENT = -800


@dataclass(frozen=True)
class PairedTest:
    """A difference between two methods with its confidence interval and p-value.

    Attributes:
        difference: mean over seeds.
        low, high: bounds of its confidence interval; NaN if the seeds or images are too few for a test.
        p: two-sided p-value for the hypothesis of no difference; NaN if there is no test.
        seeds: number of seeds that have a difference.
    """

    difference: float
    low: float
    high: float
    p: float
    seeds: int


def image_weights(count: int, resamples: int, seed: int) -> np.ndarray:
    """Number of times that each image occurs: once in the first row, then in samples drawn with replacement.

    Each sample has one image less than the data, which makes the variance of a mean unbiased (McCarthy and Snowden
    1985, The bootstrap and finite population sampling).

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
        values: scores of some pairs by several metrics, [n, K]; NaN is left out.
        image: each pair's image, [n].
        weights: see `image_weights`, [R, N].

    Returns:
        [R, K]. A row whose sample has no score is NaN. If fewer than MINIMUM_IMAGES images have scores, all rows except
        the first are NaN.
    """
    known = ~np.isnan(values)
    sums, counts = np.zeros((2, weights.shape[1], values.shape[1]))
    np.add.at(sums, image, np.where(known, values, 0.0))
    np.add.at(counts, image, known)
    drawn = weights @ counts
    means = np.divide(_exact_product(weights, sums), drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    means[1:, (counts > 0).sum(axis=0) < MINIMUM_IMAGES] = np.nan
    return means


def _exact_product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`weights @ values`, with the same bits on every machine.

    The order of additions in a matrix product depends on the processor, the library and the number of threads, and the
    last bits depend on the order. Sums of integers below 2^53 are exact in every order. So each value is split into two
    integers with a unit per column: a leading part, and the rest to 2^-30 of that unit or less. Each part has an exact
    product (Ozaki, Ogita, Oishi and Rump 2012, Error-free transformations of matrix multiplication).

    Args:
        weights: non-negative integers whose row sums are below 2^23, [R, N].
        values: finite, [N, K].

    Returns:
        float64 [R, K].

    Raises:
        ValueError: a row of weights is too large.
    """
    bits = _EXACT_BITS - int(np.frexp(weights.sum(axis=1).max())[1])  # bits of each integer
    if bits < _LEAST_BITS:
        raise ValueError(f"weights sum up to more than 2^{_EXACT_BITS - _LEAST_BITS}")
    # Every value of a column is less than 2^exponent. With exponents below -800, a unit would not be a float64.
    exponent = np.maximum(np.frexp(np.abs(values).max(axis=0, initial=0.0))[1], _LEAST_EXPONENT)
    leading = np.rint(np.ldexp(values, bits - exponent))
    rest = np.rint(np.ldexp(values - np.ldexp(leading, exponent - bits), 2 * bits - exponent))
    first, second = np.split(weights @ np.concatenate([leading, rest], axis=1), 2, axis=1)
    return np.ldexp(first, exponent - bits) + np.ldexp(second, exponent - 2 * bits)


def paired_test(differences: np.ndarray, images: int, seed: int, confidence: float = 0.95) -> PairedTest:
    """Test a difference between two methods by a hierarchical bootstrap with few seeds.

    The bootstrap gives the standard error. Each of its rows resamples the images, and draws one seed less than the
    number of seeds, with replacement. The test does not use percentiles of the bootstrap, because with three seeds they
    never go beyond the extreme seed. By chance alone, three differences have one sign in a quarter of all comparisons,
    and percentiles would then give p = 0.

    Instead the difference divided by its standard error is compared with Student's t. The degrees of freedom follow
    from the mixture of the two variances (Satterthwaite 1946). They are seeds - 1 if the variance of seeds dominates,
    and images - 1 if the variance of images dominates. Noise of single pairs counts in both variances, which makes
    the test conservative (Owen 2007, The pigeonhole bootstrap).

    Args:
        differences: differences of each seed's values, [1 + resamples, S]. The first row is over all images; the other
            rows are over resampled images, the same for every seed (see `image_weights`). NaN if a seed has no value.
        images: number of images that were resampled.
        seed: seed of the draws of seeds.
        confidence: confidence level of the interval.
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
    if total == 0.0:  # no variance: the two networks score alike or differ by a constant
        return PairedTest(mean, mean, mean, 1.0 if mean == 0 else 0.0, seeds)
    of_seeds = min(float(kept[0].var(ddof=1)) / seeds, total)
    freedom = total**2 / (of_seeds**2 / (seeds - 1) + (total - of_seeds) ** 2 / (images - 1))
    error = np.sqrt(total)
    reach = float(student_t.ppf((1 + confidence) / 2, freedom)) * error
    p = 2 * float(student_t.sf(abs(mean) / error, freedom))
    return PairedTest(mean, mean - reach, mean + reach, p, seeds)
