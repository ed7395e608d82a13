"""Run the graph with Ray: every stage as soon as its inputs are ready, on any machine with free resources.

This is a command, not a stage. All machines share the project's folder. DVC runs each stage there, so the record and
the cache are the same as those of `dvc repro`. At the end `dvc repro` runs, and must have nothing to do.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.process.streams import prepare_streams, tell
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.runtime_settings import Runtime


def main() -> None:
    """Run everything that has something to do."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m stages.cluster", description=__doc__)
    parser.add_argument(
        "--address", help="of a running Ray cluster, ray://HOST:10001 or HOST:6379 (default: one on this machine)"
    )
    parser.add_argument(
        "--gpus",
        type=float,
        help="GPUs of each stage that computes; 0.5 lets two share one (default: runtime.devices, where there are any)",
    )
    arguments = parser.parse_args()
    try:
        _run(arguments.address, arguments.gpus)
    except UserError as error:
        tell(f"cluster: error: {' '.join(str(error).split())}", sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        tell("cluster: interrupted; the same command goes on where it stopped", sys.stderr)
        sys.exit(130)


def _run(address: str | None, gpus: float | None) -> None:
    try:
        import ray

        from attribution_preservation.pipeline.cluster.driver import Needs, connect, work_through
    except ImportError:
        raise UserError("Ray is missing; pip install -r requirements-cluster.txt") from None
    from attribution_preservation.pipeline.cluster.dependencies import nothing_to_do, put_in_order, read_graph, recorded
    from attribution_preservation.pipeline.cluster.schedule import Schedule

    runtime = validate(Runtime, read_yaml(Path("params.yaml")).get("runtime"), "runtime")
    needed, unchanged = read_graph()
    before, schedule, start = recorded(), Schedule(needed, unchanged), time.monotonic()
    computes = _computing(needed)
    connect(address)
    try:
        if gpus is None:
            there = runtime.device in ("auto", "cuda") and ray.cluster_resources().get("GPU", 0)
            gpus = float(runtime.devices) if there or runtime.device == "cuda" else 0.0
        of_computing, of_others = Needs(runtime.cpu_threads * (runtime.jobs or 1), gpus), Needs(1, 0)

        def report(event: str) -> None:
            done = f"{len(schedule.done)}/{schedule.total}"
            tell(f"[{done}] {event}; {len(schedule.running)} under way")

        tell(f"cluster: {schedule.total - len(unchanged)} of {schedule.total} stages have something to do")
        work_through(schedule, lambda stage: of_computing if computes(stage) else of_others, Path.cwd(), report)
    finally:
        ray.shutdown()
        put_in_order(before, list(needed))
    if schedule.failed:
        failed, left_out = ", ".join(sorted(schedule.failed)), len(schedule.left_out)
        raise UserError(f"failed: {failed}; {left_out} stages that need them were left out; mend that and run it again")
    if not nothing_to_do():
        raise UserError("the last dvc repro found something to do: files were changed while the cluster was at work")
    tell(f"cluster: done in {time.monotonic() - start:.0f} s; dvc repro finds nothing to do")


def _computing(stages: dict[str, list[str]]) -> Callable[[str], bool]:
    """Which stages compute on devices: those that declare the section `runtime`."""
    has_runtime = {
        name: "runtime" in next(instances(name)).declared_parameters for name in {s.split("@")[0] for s in stages}
    }
    return lambda stage: has_runtime[stage.split("@")[0]]


if __name__ == "__main__":
    main()
