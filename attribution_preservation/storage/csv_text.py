"""Numbers as text in all tables that are computed from scores."""

import pandas as pd

# The last bits of a sum depend on the order of its terms. 12 digits hide them and are precise enough for scores.
_DIGITS = "%.12g"


def csv_text(frame: pd.DataFrame, missing: str = "") -> str:
    """A table as CSV, without its index, with 12 significant digits.

    Args:
        frame: the table.
        missing: text for a missing value.
    """
    return frame.to_csv(index=False, lineterminator="\n", float_format=_DIGITS, na_rep=missing)
