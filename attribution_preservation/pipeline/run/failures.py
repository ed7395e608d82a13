"""Messages of known failures: one line with the cause and the remedy."""

import errno
import os
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    errno.EACCES: "give yourself the right to it, or work in a folder of your own",
    errno.EPERM: "give yourself the right to it, or work in a folder of your own",
    errno.EROFS: "work in a folder that can be written",
    errno.ENOENT: "it was removed while this stage ran; run dvc repro to go on",
    errno.EIO: "the disk fails; put the project on another one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def foreseen(error: Exception) -> str | None:
    """What to tell the user of a failure that has a known cause and remedy; None of any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno != errno.ENOMEM:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in _FULL:
            return f"no space left for writing{where}; free some and run the same command again, finished work is kept"
        remedy = _REMEDIES.get(error.errno or 0, "mend that and run the same command again")
        # torch makes this folder when it is imported, or when the first network is compiled.
        if _is_below(error.filename, os.environ.get("TORCHINDUCTOR_CACHE_DIR")):
            remedy = "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written"
        return f"{error.strerror or error}{where}; {remedy}"
    # By name: not every stage imports torch, whose processor allocator tells by its words alone.
    if (
        isinstance(error, MemoryError | OSError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    ):
        return "memory is full; lower optimization.batch_size, steps of integrated_gradients or attribute.batch_size"
    return None


def _is_below(path: Any, folder: str | None) -> bool:
    # makedirs names the part that failed, which may lie above the folder.
    parts = [Path(os.path.abspath(name)) for name in (path, folder) if isinstance(name, str) and name]
    return len(parts) == 2 and (parts[0].is_relative_to(parts[1]) or parts[1].is_relative_to(parts[0]))


def lost_process(error: Exception) -> str | None:
    """What to tell where another of the processes that train together has ended; None of any other failure."""
    of_torch = type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError")
    # gloo's failures have no class of their own.
    lost = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "closed by peer"))
    return (
        "another of the processes that train together has ended; the first failure above is its"
        if (of_torch or lost)
        else None
    )


def in_one_line(text: str) -> str:
    """A message without line breaks or letters that cannot be printed."""
    # A file's name may hold line breaks and letters that move the cursor.
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())
