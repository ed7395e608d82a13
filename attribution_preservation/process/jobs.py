"""Independent pieces of one stage's work, several at once, each in a process of its own.

Networks that fit a laptop are too small to keep two threads busy; two processes with one thread each do one and a half
times as much. What a piece computes depends on no other piece, so the number of processes changes no result.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from tqdm import tqdm

from attribution_preservation.errors import UserError

Result = TypeVar("Result")
# Of a process that works for a stage: the pieces, which it has from its parent's memory, and its place among others.
_pieces: Sequence[Callable[[], Any]] = ()
_position = 0


def position() -> int:
    """Of the processes that work at once this one's place, from 0; 0 where one works alone."""
    return _position


def each(
    pieces: Sequence[Callable[[], Result]], jobs: int, done: Callable[[Result], None] = lambda result: None
) -> list[Result]:
    """Do pieces of work that do not depend on each other; they are begun in order.

    Args:
        pieces: what they return must be picklable. Of what they change, this process sees files alone.
        jobs: how many processes; 1 does everything in this one, as do systems other than Linux, where the libraries
            start threads of their own. More, only where this process has used no second thread for arithmetic, nor
            a GPU: its copies would wait for threads that they do not have.
        done: called here with every result as soon as it is there.

    Returns:
        The results, in the order of the pieces.

    Raises:
        UserError: a process was ended from outside.
        Exception: the first one that a piece raised; the other processes are ended, wherever they are.
    """
    if min(jobs, len(pieces)) <= 1 or sys.platform != "linux":
        return [_told(piece(), done) for piece in pieces]
    context = multiprocessing.get_context("fork")
    begin = (pieces, context.Value("i", 0), tqdm.get_lock())
    with ProcessPoolExecutor(min(jobs, len(pieces)), context, _begin, begin) as pool:
        futures = [pool.submit(_do, index) for index in range(len(pieces))]
        try:
            for future in as_completed(futures):
                _told(future.result(), done)
        except BaseException as error:
            # What they write is then complete or beside its place, as after a kill.
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise UserError(
                    "a process of this stage was ended from outside, as the system does where memory runs out; run "
                    "the same command again, with LOKY_MAX_CPU_COUNT=1 before it for one process at a time: finished "
                    "work is kept"
                ) from None
            raise
        return [future.result() for future in futures]


def _told(result: Result, done: Callable[[Result], None]) -> Result:
    done(result)
    return result


def _begin(pieces: Sequence[Callable[[], Any]], counter: Any, lock: Any) -> None:
    global _pieces, _position
    with counter.get_lock():
        _position = counter.value
        counter.value += 1
    _pieces = pieces
    tqdm.set_lock(lock)  # of all progress bars on one terminal
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(2)


def _do(index: int) -> Any:
    return _pieces[index]()
