"""Runs the graph with Ray: one task per stage instance, on any machine with free resources."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.cloudpickle
import ray.exceptions

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.cluster import worker
from attribution_preservation.pipeline.cluster.schedule import Schedule
from attribution_preservation.pipeline.cluster.worker import Ended, code_version, work

_ANSWER = 5.0  # seconds that an address has
_LOST = 3  # workers that one stage may lose


@dataclass(frozen=True)
class Needs:
    """Resources that one stage needs on a machine.

    Attributes:
        cpus: cores.
        gpus: devices; a fraction lets several stages share a device.
    """

    cpus: int
    gpus: float


def connect(address: str | None) -> None:
    """Join a cluster, or start one on this machine.

    Args:
        address: `ray://HOST:PORT`, `HOST:PORT` or `auto` for one that runs on this machine; None starts one.

    Raises:
        UserError: no cluster answers at the address.
    """
    if address and address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), _ANSWER).close()
        except (OSError, ValueError) as error:
            raise UserError(f"no Ray cluster answers at {address} ({error}); start one with ray start --head") from None
    # The module that runs on the workers travels with the task, so that an older checkout there is found, not used.
    ray.cloudpickle.register_pickle_by_value(worker)
    try:
        ray.init(address=address, include_dashboard=False if address is None else None, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"no Ray cluster can be joined at {address or 'this machine'}: {_short(error)}") from None


def work_through(schedule: Schedule, needs: Callable[[str], Needs], root: Path, tell: Callable[[str], None]) -> None:
    """Run every stage of a schedule, as many in parallel as the cluster has resources for.

    If a stage fails, the stages that depend on it are left out. If a worker dies, another worker resumes its stage.

    Args:
        schedule: the stages to run; afterwards it has the state of each stage.
        needs: resources of each stage.
        root: the project's folder, the same on all machines.
        tell: called with a line at every event.

    Raises:
        UserError: no machine has what a stage needs, or a worker is not one of this run.
    """
    version, task = code_version(root), ray.remote(max_retries=0)(work)
    running: dict[Any, str] = {}
    lost: dict[str, int] = {}
    while not schedule.over:
        for stage in schedule.ready:
            needed = needs(stage)
            _check_room(stage, needed)
            options = task.options(num_cpus=needed.cpus, num_gpus=needed.gpus, name=stage)
            running[options.remote(str(root), stage, version, int(needed.cpus))] = stage
            schedule.start(stage)
        (reference, *_), _ = ray.wait(list(running))
        stage = running.pop(reference)
        try:
            ended: Ended = ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # of our own making: nobody foresaw it
            raise RuntimeError(f"{stage} on a worker: {error}") from error
        except ray.exceptions.RayError as error:
            lost[stage] = lost.get(stage, 0) + 1
            if lost[stage] > _LOST:
                schedule.fail(stage)
                tell(f"{stage}: failed: {lost[stage]} workers died with it, the last one: {_short(error)}")
            else:
                schedule.give_back(stage)
                tell(f"{stage}: its worker died; another one takes it up")
            continue
        if ended.refused:
            raise UserError(f"{ended.error}; check out the same commit, install the same requirements there")
        if ended.error:
            schedule.fail(stage)
            tell(f"{stage}: failed after {ended.seconds:.0f} s on {ended.node}: {ended.error}")
        else:
            schedule.end(stage)
            tell(f"{stage}: done in {ended.seconds:.0f} s on {ended.node}")


def _check_room(stage: str, needed: Needs) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("GPU", 0) >= needed.gpus and node.get("CPU", 0) >= needed.cpus for node in nodes):
        there = "; ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UserError(
            f"{stage} asks for {needed.cpus:g} cores and {needed.gpus:g} GPUs of one machine, and the cluster's have "
            f"{there or 'none left'}; change --gpus, runtime.devices, runtime.cpu_threads or runtime.jobs"
        )


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
