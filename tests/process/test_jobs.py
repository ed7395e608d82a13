"""Pieces of a stage's work in several processes: the same results, and an end for all where one ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from attribution_preservation.errors import UserError
from attribution_preservation.process.jobs import each, position
from tests.conftest import PROJECT

# Two pieces that never end by themselves and hold a pipe open; the first tells when both are there.
ENDLESS = """
import os, signal, sys, threading
from attribution_preservation.process.jobs import each

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored

def endless():
    os.write(int(sys.argv[1]), b"!")
    threading.Event().wait()

try:
    each([endless, endless], 2)
except KeyboardInterrupt:
    os.write(1, b"interrupted")
    os._exit(130)
"""


def worker() -> tuple[int, int]:
    """Which process does it, once another one has begun."""
    return os.getpid(), position()


def meeting(barrier) -> tuple[int, int]:
    barrier.wait(60)
    return worker()


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_pieces(jobs):
    done = []
    assert each([partial(pow, base, 2) for base in range(4)], jobs, done.append) == [0, 1, 4, 9]
    assert sorted(done) == [0, 1, 4, 9]


def test_one_job_stays_in_its_process_and_two_have_one_each():
    assert each([worker, worker], 1) == [(os.getpid(), 0)] * 2
    together = partial(meeting, multiprocessing.Barrier(2))
    (one, its), (other, others) = each([together, together], 2)
    assert len({one, other, os.getpid()}) == 3
    assert {its, others} == {0, 1}


def fail():
    raise UserError("it is blue; paint it")


def test_a_failure_is_told_as_if_there_were_one_process_and_ends_the_others():
    endless = partial(multiprocessing.Barrier(2).wait, None)
    with pytest.raises(UserError, match=r"^it is blue; paint it$"):
        each([endless, fail], 2)
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_told():
    endless = partial(multiprocessing.Barrier(2).wait, None)
    with pytest.raises(UserError, match="ended from outside"):
        each([endless, lambda: os.kill(os.getpid(), signal.SIGKILL)], 2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("ending", "output", "code"), [("SIGKILL", b"", -9), ("SIGINT", b"interrupted", 130)])
def test_processes_end_with_the_one_that_started_them(ending, output, code):
    here, there = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(there)], cwd=PROJECT, pass_fds=[there], stdout=subprocess.PIPE
    )
    os.close(there)
    assert os.read(here, 1) + os.read(here, 1) == b"!!"
    process.send_signal(signal.Signals[ending])
    assert process.communicate(timeout=60)[0] == output
    assert process.returncode == code
    assert os.read(here, 1) == b""  # nobody holds the pipe any more
    os.close(here)
