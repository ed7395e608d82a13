"""What people who use DVC do by habit works here, and shows what docs/dvc.md says that it does."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from attribution_preservation.pipeline.provenance.record import read_record
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import dvc, hashes, run_stage, write_parameters
from tests.stages.conftest import SMALL

RATE = "distill.optimization.learning_rate"
BEFORE, AFTER = 0.03, 0.00001  # which DVC writes into params.yaml as 1e-05
CHANGE = {RATE: {"old": BEFORE, "new": AFTER, "diff": pytest.approx(AFTER - BEFORE)}}
METRIC = "distill.half.sswa.mean_ap.mean"


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def ran(root: Path, *arguments: str) -> str:
    # exp commits, and so needs to know who.
    names = {f"GIT_{role}_{what}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = dvc(root, *arguments, **names)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def restored(root: Path) -> None:
    git(root, "checkout", "-q", ".")
    ran(root, "checkout", "-q")


@pytest.fixture(scope="module")
def base(small_by_dvc, tmp_path_factory):
    """A run that was committed, in a repository of git and DVC."""
    root = tmp_path_factory.mktemp("habits") / "project"
    shutil.copytree(small_by_dvc, root, ignore=shutil.ignore_patterns("tmp"))
    shutil.move(root / ".dvc" / "cache", root.parent / "cache")
    shutil.rmtree(root / ".dvc")
    git(root, "init", "-q", "-b", "main")
    ran(root, "init", "-q")
    shutil.move(root.parent / "cache", root / ".dvc" / "cache")
    git(root, "add", ".")
    git(root, "commit", "-qm", "a run")
    return root


@pytest.fixture(scope="module")
def tried(base):
    """The same with an experiment that trains one network otherwise; what it printed."""
    return base, ran(base, "exp", "run", "--name", "lower-rate", "--set-param", f"{RATE}=0.00001")


@pytest.fixture
def root(tried):
    """An experiment whose results lie in the working tree."""
    restored(tried[0])
    ran(tried[0], "exp", "apply", "lower-rate")
    return tried[0]


def test_without_a_change_an_experiment_finds_nothing_to_do(base):
    restored(base)
    before = hashes(base, "models", "reports") | {"lock": (base / "dvc.lock").read_bytes()}
    printed = ran(base, "exp", "run", "--name", "nothing")
    assert "Running stage" not in printed
    assert hashes(base, "models", "reports") | {"lock": (base / "dvc.lock").read_bytes()} == before
    assert git(base, "status", "--porcelain") == ""
    ran(base, "exp", "remove", "nothing")


def test_an_experiment_runs_what_its_parameter_concerns(tried):
    _, printed = tried
    stages = {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}
    # Whatever asks a whole group's networks looks again.
    assert stages == {
        "code", "check", "distill@half-naive-all", "distill@half-sswa-all", "attribute@all-all", "evaluate@all-all",
        "probe@all", "roar@all", "analysis", "figures", "report",
    }  # fmt: skip


def test_the_parameter_that_changed_is_shown(root):
    assert json.loads(ran(root, "params", "diff", "--json")) == {"params.yaml": CHANGE}


def test_the_headlines_that_moved_are_shown(root):
    diff = json.loads(ran(root, "metrics", "diff", "--json"))["reports/metrics.json"]
    assert set(diff) >= {METRIC}
    assert all(name.startswith("distill.half.") for name in diff)  # no other network was trained again
    now = json.loads((root / "reports/metrics.json").read_text())
    then = json.loads(git(root, "show", "HEAD:reports/metrics.json"))
    assert (diff[METRIC]["old"], diff[METRIC]["new"]) == tuple(
        m["distill"]["half"]["sswa"]["mean_ap"]["mean"] for m in (then, now)
    )
    assert diff[METRIC]["diff"] == pytest.approx(diff[METRIC]["new"] - diff[METRIC]["old"])


def test_curves_are_drawn_beside_those_of_a_commit(root):
    page = Path(ran(root, "plots", "diff", "HEAD").strip().removeprefix("file://"))
    assert page == root / "dvc_plots" / "index.html"
    text = page.read_text()
    plots = read_yaml(root / "dvc.yaml")["plots"]
    named = [title for plot in plots if isinstance(plot, dict) for title in plot]
    # This profile prunes no channels; DVC leaves those plots empty.
    assert [title for title in named if title not in text and "channel pruning" not in title] == []
    # The folder of live logs is a plot for each of its files.
    assert text.count("var spec = {") == len(named) + len(list((root / "live").rglob("*.csv")))
    assert '"rev": "HEAD' in text
    assert '"rev": "workspace' in text
    assert git(root, "status", "--porcelain", "--", "dvc_plots") == ""


def test_experiments_stand_in_a_table(root):
    (_, at_head) = json.loads(ran(root, "exp", "show", "--json"))
    (experiment,) = at_head["experiments"]
    assert experiment["name"] == "lower-rate"
    revision = experiment["revs"][0]["data"]
    assert revision["params"]["params.yaml"]["data"]["distill"]["optimization"]["learning_rate"] == AFTER
    metrics = json.loads((root / "reports/metrics.json").read_text())
    assert revision["metrics"]["reports/metrics.json"]["data"] == metrics
    assert at_head["data"]["metrics"]["reports/metrics.json"]["data"]["distill"] != metrics["distill"]


def test_the_audit_tells_what_an_experiment_changed(root):
    table = "reports/tables/distill_all.md"
    assert run_stage(root, "audit", table, "--check").returncode == 0
    diff = json.loads(run_stage(root, "audit", table, "--diff", "HEAD", "--json").stdout)["diff"]
    parameters = {(c["where"], c["what"], c["before"], c["after"]) for c in diff if c["kind"] == "parameter"}
    concerned = ("check", "distill@half-naive-all", "distill@half-sswa-all")
    assert parameters == {(name, RATE, BEFORE, AFTER) for name in concerned}
    moved = [c for c in diff if c["kind"] == "number"]
    assert any(c["what"].endswith(": mean_ap_mean") for c in moved)


def test_an_experiment_in_a_folder_of_its_own_leaves_this_one_as_it_is(base):
    restored(base)
    before = hashes(base, "models", "reports", "environments")
    printed = ran(base, "exp", "run", "--temp", "--name", "rows", "--set-param", "report.iterations=[1]")
    stages = {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}
    assert stages == {"code", "check", "report"}
    assert hashes(base, "models", "reports", "environments") == before
    assert git(base, "status", "--porcelain") == ""
    ran(base, "exp", "branch", "rows", "rows")
    diff = json.loads(ran(base, "params", "diff", "main", "rows", "--json"))
    assert diff == {"params.yaml": {"report.iterations": {"old": "[2]", "new": "[1]"}}}
    for revision, iterations in (("main", {2}), ("rows", {1, 2})):  # the last one is always there
        table = pd.read_csv(io.StringIO(git(base, "show", f"{revision}:reports/tables/prune_weights_all.csv")))
        assert set(table[table["student"] == "iterative"]["iteration"]) == iterations
    made_by = read_record(git(base, "show", "rows:dvc.lock"))["report"].fingerprint
    assert f"fingerprint {made_by}" in git(base, "show", "rows:reports/tables/prune_weights_all.md")
    ran(base, "exp", "remove", "rows")


def test_an_experiment_becomes_a_branch(root):
    ran(root, "exp", "branch", "lower-rate", "tried")
    restored(root)
    assert json.loads(ran(root, "params", "diff", "--json")) == {}
    diff = json.loads(ran(root, "metrics", "diff", "main", "tried", "--json"))["reports/metrics.json"]
    assert METRIC in diff
    diff = json.loads(ran(root, "params", "diff", "main", "tried", "--json"))
    assert diff == {"params.yaml": CHANGE}
    git(root, "checkout", "-q", "tried")
    ran(root, "checkout", "-q")
    assert "Running stage" not in ran(root, "repro")
    git(root, "checkout", "-q", "main")


def test_results_of_another_profile_live_on_a_branch(root):
    ran(root, "exp", "branch", "lower-rate", "other")
    restored(root)
    git(root, "checkout", "-q", "other")
    ran(root, "checkout", "-q")
    write_parameters(root, SMALL | {RATE: AFTER, "profile": "other"})
    ran(root, "repro")
    git(root, "commit", "-qam", "another profile")
    git(root, "checkout", "-q", "main")
    ran(root, "checkout", "-q")
    diff = json.loads(ran(root, "params", "diff", "main", "other", "--json"))
    assert diff == {"params.yaml": CHANGE | {"profile": {"old": "small", "new": "other"}}}
    diff = json.loads(ran(root, "metrics", "diff", "main", "other", "--json"))["reports/metrics.json"]
    assert METRIC in diff
    # The working tree is still that of the first.
    assert git(root, "status", "--porcelain") == ""
    assert "Running stage" not in ran(root, "repro", "--dry")
