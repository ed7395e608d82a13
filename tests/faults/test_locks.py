"""The same stage twice at once: one works, the other says who does."""

import os
import signal

import pytest

from tests.faults.harness import VICTIMS


@pytest.mark.parametrize("name", ["dataset", "teacher"])
def test_a_second_start_says_who_is_at_work(reference, project, name):
    victim = VICTIMS[name]
    project.forget(victim)
    first = project.start(victim, f"stop:{reference.changes[name] // 2}")
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    second = project.run(victim)
    os.kill(first.pid, signal.SIGCONT)
    first.communicate()
    assert second.in_one_line
    (message,) = second.err.splitlines()
    assert f"process {first.pid} on " in message
    assert f"is working on {victim.instance}" in message
    assert "wait for it, or stop it first" in message
    assert first.returncode == 0
    assert project.repro().code == 0
    assert project.hashes() == reference.hashes()
