"""Numbers as text: how every table of the project that is computed from scores is written."""

import pandas as pd

# A sum's last bits depend on the order of its terms. 12 digits hide them, and are more than any score is worth.
_DIGITS = "%.12g"


def csv_text(frame: pd.DataFrame, missing: str = "") -> str:
    """A table as CSV, without its index, with 12 significant digits.

    Args:
        frame: the table.
        missing: what is written for a value that is missing.
    """
    return frame.to_csv(index=False, lineterminator="\n", float_format=_DIGITS, na_rep=missing)
