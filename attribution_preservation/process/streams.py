"""What a command prints: in any encoding, and to a reader that may have gone."""

import atexit
import contextlib
import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Let this process print any text: what its encoding lacks becomes an escape, `\\u2021` for a double dagger.

    A stream that the caller closed takes everything and shows nothing. Called first by every command, before it parses
    its arguments.
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
    """Print a line, on standard output unless a stream is given; work goes on where `| head` has closed that stream."""
    stream = sys.stdout if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _silence(stream)


def _flush() -> None:
    # Before Python does it, which would report a pipe that was closed.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _silence(stream)
        except ValueError:  # it is closed
            pass


def _silence(stream: TextIO) -> None:
    """Lead a stream, with what waits in it, to nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
