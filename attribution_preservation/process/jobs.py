"""Runs independent pieces of one stage's work in parallel, each in a separate process.

Networks that fit a laptop are too small to keep two threads busy. Two processes with one thread each do one and a half
times as much work. No piece depends on another piece, so results do not depend on the number of processes.
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
# In a process that works for a stage: the pieces, copied from its parent's memory, and its number among the processes.
_pieces: Sequence[Callable[[], Any]] = ()
_position = 0


def position() -> int:
    """Number of this process among the parallel processes, from 0; 0 if it is alone."""
    return _position


def each(
    pieces: Sequence[Callable[[], Result]], jobs: int, done: Callable[[Result], None] = lambda result: None
) -> list[Result]:
    """Run independent pieces of work; they start in order.

    Args:
        pieces: functions whose results are picklable. Of their changes, this process sees only written files.
        jobs: number of processes. With 1, this process does everything. So it does on systems other than Linux, where
            the libraries start their own threads. Use more than 1 only if this process has not used a second thread for
            arithmetic, or a GPU: forked processes would wait for threads that they do not have.
        done: called in this process with every result as soon as it is available.

    Returns:
        The results, in the order of the pieces.

    Raises:
        UserError: a process was ended from outside.
        Exception: the first exception that a piece raised; the other processes are terminated immediately.
    """
    if min(jobs, len(pieces)) <= 1 or sys.platform != "linux":
        return [_reported(piece(), done) for piece in pieces]
    context = multiprocessing.get_context("fork")
    begin = (pieces, context.Value("i", 0), tqdm.get_lock())
    with ProcessPoolExecutor(min(jobs, len(pieces)), context, _begin, begin) as pool:
        futures = [pool.submit(_do, index) for index in range(len(pieces))]
        try:
            for future in as_completed(futures):
                _reported(future.result(), done)
        except BaseException as error:
            # Their files are then complete, or still have temporary names, as after a kill.
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


def _reported(result: Result, done: Callable[[Result], None]) -> Result:
    done(result)
    return result


def _begin(pieces: Sequence[Callable[[], Any]], counter: Any, lock: Any) -> None:
    global _pieces, _position
    with counter.get_lock():
        _position = counter.value
        counter.value += 1
    _pieces = pieces
    tqdm.set_lock(lock)  # shared by all progress bars on one terminal
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the parent ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(2)


def _do(index: int) -> Any:
    return _pieces[index]()
