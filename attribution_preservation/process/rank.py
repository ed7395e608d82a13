"""Of several processes that run one stage together, the one that leads."""

import os

# As torchrun, SLURM and Lightning's own launcher set them: in all processes, in tasks, in a machine's processes.
_NUMBERS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def leads() -> bool:
    """Whether this process holds locks, writes files and tells people; so does one that is alone."""
    return not number()


def number() -> str:
    """What the environment calls this process where it is not the first; empty where it is."""
    return next((f"{name}={os.environ[name]}" for name in _NUMBERS if os.environ.get(name, "0") != "0"), "")
