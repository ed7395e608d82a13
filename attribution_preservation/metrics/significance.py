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
_EXACT_BITS = 53  # of a float64's significand
_LEAST_BITS = 30  # two integers of 30 bits hold a value as well as a float64 does
_LEAST_EXPONENT = -800


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
    means = np.divide(_exact_product(weights, sums), drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    means[1:, (counts > 0).sum(axis=0) < MINIMUM_IMAGES] = np.nan
    return means


def _exact_product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`weights @ values`, with the same bits on every machine.

    The order in which a matrix product adds depends on the processor, the library and the number of threads, and with
    it the last bits. Sums of integers below 2^53 are exact in every order. So each value is written as two integers,
    each with a unit of its column: a leading part, and the rest to 2^-30 of that unit or less. Each part has its own
    exact product (Ozaki, Ogita, Oishi and Rump 2012, Error-free transformations of matrix multiplication).

    Args:
        weights: integers that are not negative; no row sums up to 2^23 or more, [R, N].
        values: finite, [N, K].

    Returns:
        float64 [R, K].

    Raises:
        ValueError: a row of weights is too large.
    """
    bits = _EXACT_BITS - int(np.frexp(weights.sum(axis=1).max())[1])  # of each integer
    if bits < _LEAST_BITS:
        raise ValueError(f"weights sum up to more than 2^{_EXACT_BITS - _LEAST_BITS}")
    # Every value of a column is less than 2^exponent. Below 2^-800 a unit would be no float64.
    exponent = np.maximum(np.frexp(np.abs(values).max(axis=0, initial=0.0))[1], _LEAST_EXPONENT)
    leading = np.rint(np.ldexp(values, bits - exponent))
    rest = np.rint(np.ldexp(values - np.ldexp(leading, exponent - bits), 2 * bits - exponent))
    first, second = np.split(weights @ np.concatenate([leading, rest], axis=1), 2, axis=1)
    return np.ldexp(first, exponent - bits) + np.ldexp(second, exponent - 2 * bits)


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
