"""Sentences that captions of several tables share."""

from attribution_preservation.reporting.paired_tests import ALPHA, MARK

AHEAD = "†"


def averaged_over(seeds: int) -> str:
    """The statistics in a cell; `seeds` is their number."""
    return f"Mean ± sample deviation over {seeds} seeds" if seeds > 1 else "One seed, no deviation"


def marks_explained(seeds: int, significant: bool) -> str:
    """The meaning of the marks behind a score.

    Args:
        seeds: their number; one seed has no deviation, so nothing is ahead by one.
        significant: whether any score of the table differs from Naive's by a test.
    """
    text = f"{AHEAD}: ahead of Naive by more than the larger of the two deviations. " if seeds > 1 else ""
    if significant:
        text += f"{MARK}: differs from Naive, p < {ALPHA} in a paired bootstrap over images and seeds, corrected "
        text += "(Holm) for the comparisons of the column. "
    return text
