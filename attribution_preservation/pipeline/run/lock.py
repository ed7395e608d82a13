"""One process at a time: a folder that is held says who holds it."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from attribution_preservation.errors import UserError

# Outside DVC's outputs, which DVC deletes before it runs a stage.
STATE = Path(".resume")


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder, which is made where it is missing; a process that is killed holds it no longer.

    Args:
        folder: holds the files `lock` and, while it is held, `holder`.
        what: is worked on, for the message.

    Raises:
        UserError: another process holds it; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder, lock = folder / "holder", FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise UserError(f"{who} is working on {what} ({folder}); wait for it, or stop it first") from None
    try:
        holder.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
