"""Several processes that train one network: what they add up to, and what they leave."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from attribution_preservation.data.framing import Framing
from attribution_preservation.errors import UserError
from attribution_preservation.optimization import Optimization
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.processes import Processes
from tests.conftest import PROJECT, SITE, TINY, hashes, run_stage, write_parameters
from tests.training.joint_gradients import METHODS
from tests.training.test_training import AUGMENTED, PLAIN, RUNTIME, schedule, store  # noqa: F401

LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def test_two_processes_have_the_gradients_of_one_with_the_joint_batch(tmp_path):
    """Every method's, also where the loss differentiates a gradient; batch normalisation and dropout in eval mode."""
    out = tmp_path / "differences.json"
    command = [sys.executable, *LAUNCH, "tests.training.joint_gradients", str(out)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = json.loads(out.read_text())
    assert differences.keys() == METHODS.keys()
    assert max(differences.values()) < 1e-6, differences


def test_two_processes_log_what_one_does(tmp_path, store):  # noqa: F811
    logs = []
    for count, launched in ((1, ["-m"]), (2, LAUNCH)):
        out = tmp_path / f"{count}.json"
        command = [*launched, "tests.training.joint_log", str(out), str(tmp_path / "store"), str(count)]
        done = subprocess.run([sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        logs.append(json.loads(out.read_text()))
    one, two = logs
    assert len({entry["mean_ap"] for entry in one}) == len(one) == 3  # it learns, so that an epoch's score is its own
    for entry, alike in zip(one, two, strict=True):
        assert alike == pytest.approx(entry, rel=1e-5)


@pytest.mark.parametrize("augmentation", [PLAIN, AUGMENTED])
def test_shares_are_the_batches_of_one_process(store, augmentation):  # noqa: F811
    optimization: Optimization = schedule(augmentation=augmentation)
    whole = list(Batches(store, Framing(size=8), optimization, 0).epoch(0, "t"))
    first, second = (list(Batches(store, Framing(size=8), optimization, 0, (rank, 2)).epoch(0, "t")) for rank in (0, 1))
    for (images, labels), (a, of_a), (b, of_b) in zip(whole, first, second, strict=True):
        # Another number of images may sum in another order.
        assert (torch.stack([a, b], 1).flatten(0, 1).int() - images.int()).abs().max() <= (augmentation is AUGMENTED)
        assert torch.equal(torch.stack([of_a, of_b], 1).flatten(0, 1), labels)


def test_a_batch_that_cannot_be_shared_is_refused(store):  # noqa: F811
    with pytest.raises(UserError, match=r"batch_size: 4 images cannot be shared by 3 processes .* take a multiple"):
        Batches(store, Framing(size=8), schedule(), 0, (0, 3))


def test_one_process_that_the_environment_counts_among_others_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(UserError, match=r"RANK=3 in the environment .* unset it, or raise them"):
        Processes(RUNTIME, torch.device("cpu"))


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"runtime\.devices: 4 GPUs were asked for, but torch sees 1 here"):
        Processes(RUNTIME.model_copy(update={"device": "cuda", "devices": 4}), torch.device("cuda"))


def test_other_processes_than_params_yaml_says_are_refused(monkeypatch):
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "1", "GROUP_RANK": "0"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"ask for 2 processes on each of 1 machines, which cannot be had"):
        Processes(RUNTIME.model_copy(update={"devices": 2}), torch.device("cpu"))


@pytest.fixture
def shared(project):
    """A project whose stages train in two processes."""
    write_parameters(project, TINY | {"runtime.devices": 2, "teacher.optimization.epochs": 3})
    for name in ("code", "check", "dataset"):
        assert run_stage(project, name).returncode == 0
    return project


def test_a_stage_starts_its_own_processes_and_torchrun_makes_the_same_bytes(shared):
    done = run_stage(shared, "teacher")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("teacher: 1 vgg6_bn networks")
    assert done.stdout.count("teacher:") == 1  # one of them speaks
    made = hashes(shared, "models")
    assert {name.rsplit("/", 1)[1] for name in made} == {"network.safetensors", "log.csv"}
    assert (
        hashes(shared, "live")["live/teacher/vgg6_bn/seed-0.csv"] == made["models/all/teacher/vgg6_bn/seed-0/log.csv"]
    )
    for folder in (".resume", "models"):
        (shared / folder).rename(shared.parent / folder)
    command = [sys.executable, *LAUNCH, "stages.teacher"]
    again = subprocess.run(command, cwd=shared, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert hashes(shared, "models") == made


def test_when_the_leading_process_is_killed_the_other_ends_and_a_new_start_goes_on(shared):
    assert run_stage(shared, "teacher").returncode == 0
    made = hashes(shared, "models")
    for folder in (".resume", "models"):
        (shared / folder).rename(shared.parent / folder)
    fault = {"PYTHONPATH": str(SITE), "FAULT_STAGE": "teacher", "FAULT": "saved:1"}
    killed = run_stage(shared, "teacher", **fault)  # returns when both have closed their output
    assert killed.returncode == -signal.SIGKILL
    assert killed.stderr.count("error: another of the processes that train together has ended") == 1, killed.stderr
    assert "Traceback" not in killed.stderr
    assert not (shared / "models").exists()
    assert run_stage(shared, "teacher").returncode == 0
    assert hashes(shared, "models") == made
