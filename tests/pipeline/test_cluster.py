"""Ray works through a graph: what runs when, what a failure or a dead worker changes, and what is left at the end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dvc.utils.serialize import dump_yaml, load_yaml
from hypothesis import given
from hypothesis import strategies as st

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.cluster import driver, worker
from attribution_preservation.pipeline.cluster.dependencies import put_in_order
from attribution_preservation.pipeline.cluster.schedule import Schedule
from attribution_preservation.pipeline.cluster.worker import code_version, work
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from tests.conftest import PROJECT, dvc

# What each toy stage needs: a diamond, and a branch of its own.
NEEDS = {
    "check": [],
    "left": ["check"],
    "right": ["check"],
    "both": ["left", "right"],
    "apart": ["check"],
    "after": ["apart"],
}
TOY = '''"""A toy stage: joins what it reads."""

import sys
from pathlib import Path

from attribution_preservation.pipeline.run.watchdog import end_with_dvc

name, *inputs = sys.argv[1:]
end_with_dvc(name)
if name == "apart" and Path("broken").exists():
    sys.exit("apart: error: the file broken is there; remove it")
if name == "apart" and Path("gate").exists():
    import os
    gate = open("gate", "w")
    gate.write(f"{os.getpid()}\\n")
    gate.close()
    Path("gate").unlink()  # the next one goes through
    open("shut").read()  # nobody opens the other end
if name == "both" and Path("meddle").exists():
    Path("left.txt").write_text("changed behind DVC's back")
Path(f"{name}.txt").write_text(name + "(" + ", ".join(Path(f"{found}.txt").read_text() for found in inputs) + ")")
'''


@st.composite
def graphs(draw):
    """Graphs whose stages need some of those before them."""
    count = draw(st.integers(1, 12))
    return {str(i): sorted(draw(st.sets(st.sampled_from(range(i)))) if i else set()) for i in range(count)}


@given(graphs(), st.data())
def test_every_stage_runs_after_what_it_needs_and_a_failure_stops_what_hangs_on_it_alone(graph, data):
    needs = {stage: [str(needed) for needed in of_stage] for stage, of_stage in graph.items()}
    schedule, failing = Schedule(needs), data.draw(st.sets(st.sampled_from(sorted(needs))))
    while not schedule.over:
        for stage in schedule.ready:
            assert schedule.done.issuperset(needs[stage])
            schedule.start(stage)
        stage = data.draw(st.sampled_from(sorted(schedule.running)))
        fate = data.draw(st.sampled_from(["ends", "loses its worker"]))
        if fate == "loses its worker":
            schedule.give_back(stage)
            assert stage in schedule.ready
        elif stage in failing:
            schedule.fail(stage)
        else:
            schedule.end(stage)
    # By hand: what hangs on a failure, through however many others.
    hanging = set()
    for stage, needed in needs.items():
        if hanging.union(failing) & set(needed):
            hanging.add(stage)
    assert schedule.left_out == hanging
    assert schedule.failed == failing - hanging
    assert schedule.done == set(needs) - hanging - failing


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path / "toy")


def make_toy(root: Path) -> Path:
    """A project with toy stages in place of the real ones."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("stages", "attribution_preservation"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=ignored)
    values = read_yaml(PROJECT / "params" / "digits.yaml")
    (root / "params.yaml").write_text(format_yaml({"runtime": values["runtime"], "rate": 0.00005}))
    (root / "toy.py").write_text(TOY)
    stages = {
        name: {
            "cmd": " ".join(["python toy.py", name, *needed]),
            "deps": [f"{other}.txt" for other in needed],
            "outs": [f"{name}.txt"],
            **({"params": ["runtime", "rate"]} if name == "apart" else {}),
        }
        for name, needed in NEEDS.items()
    }
    (root / "dvc.yaml").write_text(format_yaml({"stages": stages}))
    assert dvc(root, "init", "-q", "--no-scm").returncode == 0
    return root


def cluster(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "stages.cluster", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | variables,
        check=False,
    )


def test_a_record_in_another_order_holds_the_same_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = {
        name: {"cmd": name, "params": {"params.yaml": {"a": value, "b": [None, value, "5e-05", True], "c": {}}}}
        for name, value in {"third": 5e-05, "first": 1e16, "second": 1.0}.items()
    }
    dump_yaml("dvc.lock", {"schema": "2.0", "stages": entries})
    put_in_order(["first"], ["first", "second", "third"])
    ordered = {name: entries[name] for name in ("first", "second", "third")}
    assert repr(load_yaml("dvc.lock")) == repr({"schema": "2.0", "stages": ordered})
    dump_yaml("as one process writes it", {"schema": "2.0", "stages": ordered})
    assert Path("dvc.lock").read_bytes() == Path("as one process writes it").read_bytes()


def test_a_cluster_leaves_what_one_process_leaves_and_a_failure_stops_its_branch_alone(toy):
    serial = make_toy(toy.parent / "serial")
    assert dvc(serial, "repro").returncode == 0
    (toy / "broken").write_text("")
    stopped = cluster(toy)
    assert stopped.returncode == 2, stopped.stderr
    assert "apart: failed" in stopped.stdout
    assert "apart: error: the file broken is there; remove it" in stopped.stdout
    assert stopped.stderr.splitlines()[-1].startswith("cluster: error: failed: apart; 1 stages that need them were")
    assert "Traceback" not in stopped.stderr
    assert {path.stem for path in toy.glob("*.txt")} == {"check", "left", "right", "both"}
    (toy / "broken").unlink()
    mended = cluster(toy)
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.startswith("cluster: 2 of 6 stages have something to do")
    assert "dvc repro finds nothing to do" in mended.stdout
    assert (toy / "dvc.lock").read_bytes() == (serial / "dvc.lock").read_bytes()


def test_a_dead_machine_s_stage_is_taken_up_by_another(toy):
    from ray.cluster_utils import Cluster

    os.mkfifo(toy / "gate")
    os.mkfifo(toy / "shut")
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [machines.add_node(num_cpus=1) for _ in range(3)]
        machines.wait_for_nodes()
        running = subprocess.Popen(
            [sys.executable, "-m", "stages.cluster", "--address", machines.address],
            cwd=toy,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with (toy / "gate").open() as gate:  # opens when the stage apart does
            stage = psutil.Process(int(gate.readline()))
        above = {process.pid for process in stage.parents()}
        (holding,) = [node for node in nodes if node.all_processes["raylet"][0].process.pid in above]
        machines.remove_node(holding, allow_graceful=False)
        out, err = running.communicate()
    finally:
        machines.shutdown()
    assert running.returncode == 0, out + err
    assert "apart: its worker died; another one takes it up" in out
    assert "dvc repro finds nothing to do" in out
    assert (toy / "after.txt").read_text() == "after(apart(check()))"
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE


def test_an_address_that_does_not_answer_is_one_line(toy):
    for address in ("ray://127.0.0.1:1", "nowhere"):
        done = cluster(toy, "--address", address)
        assert done.returncode == 2
        assert done.stderr.startswith(f"cluster: error: no Ray cluster answers at {address} (")
        assert done.stderr.count("\n") == 1


def test_a_cluster_that_cannot_be_joined_is_told(monkeypatch):
    def init(**options):
        raise ConnectionError("the versions of Ray differ\nand more")

    monkeypatch.setattr(driver.ray, "init", init)
    with pytest.raises(UserError, match=r"no Ray cluster can be joined at this machine: the versions of Ray differ$"):
        driver.connect(None)


def test_a_project_that_dvc_cannot_read_is_one_line(toy):
    (toy / "dvc.yaml").write_text("stages: {one: {cmd: a, nonsense: b}}\n")
    done = cluster(toy)
    assert done.returncode == 2
    assert done.stderr.startswith("cluster: error: dvc cannot read the project: ")
    assert done.stderr.count("\n") == 1


def test_files_that_change_meanwhile_are_noticed(toy):
    (toy / "meddle").write_text("")
    done = cluster(toy)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("cluster: error: the last dvc repro found something to do")


def test_a_worker_of_another_version_stops_the_run(toy, monkeypatch):
    monkeypatch.setattr(driver, "code_version", lambda root: "another")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    driver.connect(None)
    try:
        with pytest.raises(UserError, match=r"another version of the code .*; check out the same commit"):
            driver.work_through(Schedule(NEEDS), lambda stage: driver.Needs(1, 0), toy, print)
    finally:
        driver.ray.shutdown()
    assert not (toy / "check.txt").exists()


def test_a_gpu_that_no_machine_has_is_one_line(toy):
    done = cluster(toy, "--gpus", "2")
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cluster: error:")]
    assert line.startswith("cluster: error: apart asks for 1 cores and 2 GPUs of one machine")


def test_ray_that_is_not_installed_is_one_line(toy):
    (toy / "ray.py").write_text("raise ImportError('no ray')\n")
    done = cluster(toy)
    assert done.returncode == 2
    assert done.stderr == "cluster: error: Ray is missing; pip install -r requirements-cluster.txt\n"


def test_a_worker_of_another_version_runs_nothing(toy, monkeypatch):
    version = code_version(toy)
    (toy / "stages" / "teacher.py").write_text("# changed\n")
    ended = work(str(toy), "check", version)
    assert ended.refused
    assert "has another version of the code" in ended.error
    assert not (toy / "check.txt").exists()
    assert "has no /nowhere/at/all" in work("/nowhere/at/all", "check", version).error


def test_a_stage_waits_for_the_dvc_of_a_worker_that_is_dying(toy, monkeypatch):
    dying = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held = {"write": {str(toy / "check.txt"): {"pid": dying.pid, "cmd": "dvc repro -s check"}}}
    (toy / ".dvc" / "tmp").mkdir(exist_ok=True)
    (toy / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(held))

    def die(seconds):
        dying.kill()
        dying.wait()

    monkeypatch.setattr(worker.time, "sleep", die)
    assert work(str(toy), "check", code_version(toy)).error == ""
    assert dying.returncode is not None  # it did wait
    assert (toy / "check.txt").read_text() == "check()"


def test_a_version_is_of_code_and_parameters_and_of_nothing_else(toy):
    version = code_version(toy)
    (toy / "check.txt").write_text("a result")
    (toy / "README.md").write_text("words")
    assert code_version(toy) == version
    (toy / "params.yaml").write_text("profile: other\n")
    assert code_version(toy) != version
