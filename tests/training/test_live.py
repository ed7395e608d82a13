"""What people see of a run while it is under way."""

import csv

import pytest

from tests.conftest import SITE, TINY, run_stage, write_parameters

STOPPED = {"PYTHONPATH": str(SITE), "FAULT_STAGE": "teacher"}


@pytest.fixture
def prepared(project):
    write_parameters(project, TINY | {"teacher.optimization.epochs": 3})
    for name in ("code", "check", "dataset"):
        assert run_stage(project, name).returncode == 0
    return project


def test_a_run_shows_its_log_epoch_by_epoch_wherever_it_is_stopped(prepared):
    live = prepared / "live" / "teacher" / "vgg6_bn" / "seed-0.csv"

    def logged():
        with live.open() as file:
            return [(row["phase"], row["epoch"]) for row in csv.DictReader(file)]

    # Killed after a state was saved, and before what comes next: showing the log.
    run_stage(prepared, "teacher", FAULT="saved:1", **STOPPED)
    assert not live.exists()
    run_stage(prepared, "teacher", FAULT="saved:1", **STOPPED)
    assert logged() == [("0", "1")]
    run_stage(prepared, "teacher", FAULT="saved:1", **STOPPED)
    assert logged() == [("0", "1"), ("0", "2")]
    assert run_stage(prepared, "teacher").returncode == 0
    assert logged() == [("0", "1"), ("0", "2"), ("0", "3")]
    # What is left of it in the end is the record, which knows no clock.
    assert live.read_text() == (prepared / "models/all/teacher/vgg6_bn/seed-0/log.csv").read_text()
    assert live.read_text().splitlines()[0] == "phase,epoch,learning_rate,loss,task,mean_ap"
    # Another run of the same place shows nothing of this one.
    write_parameters(prepared, TINY | {"teacher.optimization.learning_rate": 0.01})
    run_stage(prepared, "teacher", FAULT="saved:1", **STOPPED)
    assert not live.exists()


def test_every_run_has_a_place_of_its_own(finished):
    root, _ = finished
    paths = {str(path.relative_to(root / "live")) for path in (root / "live").rglob("*.csv")}
    methods = ("naive", "sswa")
    assert paths == {
        "teacher/vgg6_bn/seed-0.csv",
        "scratch/half/seed-0.csv",
        *(f"prune_weights/{how}/{method}/seed-0.csv" for how in ("iterative", "one_shot") for method in methods),
        *(f"prune_channels/rate_70/{method}/seed-0.csv" for method in (*methods, "swa_abs", "share_0.1", "share_0.5")),
        *(f"distill/half/{method}/seed-0.csv" for method in methods),
        *(f"roar/{source}/seed-0/removed-50/retraining-0.csv"
          for source in ("teacher", "other_images", "random", "half/naive", "half/sswa")),
        "roar/random/seed-0/removed-0/retraining-0.csv",
    }  # fmt: skip
