"""The leading process among several processes that run one stage together."""

import os

# Variables of torchrun, SLURM and Lightning's launcher: number among all processes, tasks, or processes of a machine.
_NUMBERS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def leads() -> bool:
    """Whether this process holds locks, writes files and prints messages. A single process does."""
    return not number()


def number() -> str:
    """The variable with this process's number, as NAME=VALUE; empty for the first process."""
    return next((f"{name}={os.environ[name]}" for name in _NUMBERS if os.environ.get(name, "0") != "0"), "")
