"""Gain of many workers, and the overhead of each stage, measured with independent stages that sleep.

One worker, two and four of a Ray cluster on this machine, and `dvc repro` alone.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attribution_preservation.errors import UserError
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from benchmarks.measurement import Figure

STAGES, SLEEP = 16, 10.0
WORKERS = (1, 2, 4)
SPEED_UP, OVERHEAD = 3.3, 2.0


def measure() -> list[Figure]:
    """Every number of workers on the same graph, from nothing."""
    try:
        import ray
    except ImportError:
        raise UserError("Ray is missing; pip install -r requirements-cluster.txt") from None
    seconds = {}
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            root = _project(Path(folder))
            context = ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
            try:
                address = context.address_info["gcs_address"]
                seconds[workers] = _timed(root, "-m", "stages.cluster", "--address", address)
            finally:
                ray.shutdown()
    with tempfile.TemporaryDirectory() as folder:
        alone = _timed(_project(Path(folder)), "-m", "dvc", "repro")
    figures = [Figure(f"workers_{count}", duration, "s", "lower") for count, duration in seconds.items()]
    figures.append(Figure("speed_up_2_workers", seconds[1] / seconds[2], "ratio", "higher"))
    figures.append(Figure("speed_up_4_workers", seconds[1] / seconds[4], "ratio", "higher", SPEED_UP))
    figures.append(Figure("dvc_repro", alone, "s", "lower"))
    figures.append(Figure("dvc_repro_over_4_workers", alone / seconds[4], "ratio", "higher"))
    overhead = (seconds[1] - STAGES * SLEEP) / STAGES
    figures.append(Figure("overhead_per_stage", overhead, "s", "lower", OVERHEAD))
    return figures


def _project(root: Path) -> Path:
    source = Path(__file__).parents[1]
    for folder in ("stages", "attribution_preservation"):
        (root / folder).symlink_to(source / folder)
    runtime = read_yaml(source / "params" / "digits.yaml")["runtime"]
    (root / "params.yaml").write_text(format_yaml({"runtime": runtime}))
    work = "import sys, time; time.sleep(float(sys.argv[2])); open(sys.argv[1], 'w').write(sys.argv[1])"
    (root / "work.py").write_text(work)
    stages = {
        f"stage{number}": {"cmd": f"python work.py {number}.txt {SLEEP}", "outs": [f"{number}.txt"]}
        for number in range(STAGES)
    }
    (root / "dvc.yaml").write_text(format_yaml({"stages": stages}))
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
    return root


def _timed(root: Path, *arguments: str) -> float:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=os.environ | {"PATH": path},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise UserError(f"{' '.join(arguments)} failed: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - start
