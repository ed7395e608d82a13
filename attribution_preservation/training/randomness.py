"""All randomness of an epoch comes from (seed, stage, epoch), and an image's from (seed, stage, epoch, image).

So the number of workers or processes does not change it, and a run that resumes at the start of an epoch draws the same
numbers as an uninterrupted run.
"""

import hashlib


def derived_seed(*parts: int | str) -> int:
    """A seed for torch or NumPy from anything that identifies a draw: a 63-bit integer, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
