"""Output of commands: works in any encoding, and if the reader has closed the stream."""

import atexit
import contextlib
import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Let this process print any text. Missing characters become escapes, such as `\\u2021` for a double dagger.

    Output to a stream that the caller closed is discarded. Every command calls this first, before it parses its
    arguments.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 (to the end)
            setattr(sys, name, nowhere)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    atexit.register(_flush)


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print a line, by default on standard output. The command continues if `| head` has closed the stream."""
    stream = sys.stdout if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _silence(stream)


def _flush() -> None:
    # Python would report a closed pipe if it flushed the streams itself.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _silence(stream)
        except ValueError:  # the stream is closed
            pass


def _silence(stream: TextIO) -> None:
    """Redirect a stream, with its buffered text, to the null device."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
