"""The headline of the page: one sentence, with its interval, chosen by rule and not by its value."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from attribution_preservation.reporting.paired_tests import ALPHA, PairedTests, corrected
from attribution_preservation.reporting.results import last_of_all, present
from attribution_preservation.reporting.titles import Titles

_PREFERRED = "swa"  # what the paper proposes


def headline_sentence(results: pd.DataFrame, methods: Sequence[str], tests: PairedTests, titles: Titles) -> str | None:
    """Are SWA's maps closer to the full network's than Naive's, in the first student that both have?

    The population is `common`: the same pairs for both. p is corrected (Holm) for all methods and students that are
    compared with Naive, as in the table of tests.

    Args:
        results: tidy results.
        methods: that are compared.
        tests: of the comparisons with Naive.
        titles: what methods and compressions are called.

    Returns:
        A sentence; None where nothing was matched.
    """
    levels = last_of_all(results)
    made = {
        (level, method): test
        for level in levels
        for method in present(level.of(results), methods)
        if method != "naive" and (test := tests.find(level, method, "cosine", "common"))
    }
    known = [key for key, test in made.items() if not np.isnan(test.difference)]
    if not known:
        return None
    level, method = next((key for key in known if key[1] == _PREFERRED), known[0])
    test, p = made[level, method], corrected({key: test.p for key, test in made.items()})[level, method]
    sparsity = level.of(results)["sparsity"].dropna()
    how = titles.student(level.compression, level.student)
    how += f", {100 * sparsity.max():.0f} % of the convolution weights pruned" if len(sparsity) else ""
    way = "closer to" if test.difference > 0 else "further from"
    text = (
        f"After compression ({how}), {titles.method(method)}'s Grad-CAM maps are {way} the full network's than Naive's "
    )
    text += f"by {abs(test.difference):.3f} in cosine"
    if np.isnan(p):
        return f"{text}; {test.seeds} seed{'s are' if test.seeds > 1 else ' is'} too few for an interval."
    low, high = sorted(np.sign(test.difference) * bound for bound in (test.low, test.high))
    text += f" (95 % interval {low:.3f} to {high:.3f} over images and {test.seeds} seeds, of this comparison alone); "
    confirmed = "the test confirms" if p < ALPHA else "the test does not confirm"
    return f"{text}corrected for the {len(made)} comparisons that were made, {confirmed} it (p = {p:.3f})."
