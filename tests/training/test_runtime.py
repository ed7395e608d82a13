"""What a stage computes with: how exactly, with which libraries, and how much of it a stop may lose."""

import importlib
import shutil
from importlib import metadata

import pytest
import torch

from attribution_preservation.pipeline.run import training_run
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.process.environment import environment, fabric_version
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime import set_up
from tests.conftest import TINY, write_parameters
from tests.training.test_training import RUNTIME

CPU = torch.device("cpu")


def tf32():
    """As everyone may ask: by the older names, for each operation, and for one that cuDNN does."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=torch.backends.cudnn.allow_tf32):
        pass
    precise = {"high": True, "highest": False}[torch.get_float32_matmul_precision()]
    return {torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, precise}


@pytest.mark.parametrize(("precision", "inside"), [("32-true", False), ("tf32", True), ("bf16-mixed", False)])
def test_a_gpu_rounds_float32_only_in_training_steps_that_ask_for_it(precision, inside):
    runtime = RUNTIME.model_copy(update={"precision": precision})
    set_up(runtime)
    processes = Processes(runtime, CPU)
    assert tf32() == {False}
    with processes.arithmetic():
        assert tf32() == {inside}
    assert tf32() == {False}
    with pytest.raises(ZeroDivisionError), processes.arithmetic():
        raise ZeroDivisionError
    assert tf32() == {False}


@pytest.mark.parametrize("name", ["lightning-fabric", "pytorch-lightning", "lightning"])
def test_fabrics_version_is_that_of_the_distribution_that_it_came_with(monkeypatch, name):
    version = metadata.version

    def only(distribution):
        if distribution == name:
            return "2.6.1"
        if "lightning" in distribution:
            raise metadata.PackageNotFoundError(distribution)
        return version(distribution)

    monkeypatch.setattr(metadata, "version", only)
    importlib.import_module("lightning_fabric")
    assert fabric_version() == "2.6.1"
    assert environment()["libraries"]["lightning-fabric"] == "2.6.1"
    assert set_up(RUNTIME).versions["lightning-fabric"] == "2.6.1"


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_kernels_are_deterministic_where_the_parameters_say_so(deterministic, compiled):
    set_up(RUNTIME.model_copy(update={"deterministic": deterministic, "compile": compiled}))
    assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_without_fabric_its_absence_is_told(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: (_ for _ in ()).throw(metadata.PackageNotFoundError(name)))
    with pytest.raises(metadata.PackageNotFoundError):
        fabric_version()


# Seconds of an epoch, and the epochs of six after which there is a state.
@pytest.mark.parametrize(("seconds", "kept"), [(100, [1, 2, 3, 4, 5, 6]), (20, [2, 4, 6]), (7, [5])])
def test_a_stop_loses_a_minute_or_an_epoch_at_most(finished, tmp_path, monkeypatch, seconds, kept):
    root = tmp_path / "project"
    shutil.copytree(finished[0], root, ignore=shutil.ignore_patterns(".resume"))
    few = {"teacher.optimization.epochs": 6, "teacher.optimization.images_per_epoch": 32}
    write_parameters(root, TINY | few | {"runtime.checkpoint_seconds": 30})
    monkeypatch.chdir(root)
    now, saved = [0.0], []
    save = training_run.TrainingRun._save

    def after_an_epoch(place, checkpoint):
        now[0] += seconds
        save(place, checkpoint)

    monkeypatch.setattr(training_run, "monotonic", lambda: now[0])
    monkeypatch.setattr(training_run.TrainingRun, "_save", after_an_epoch)
    monkeypatch.setattr(training_run, "save_checkpoint", lambda checkpoint, path: saved.append(checkpoint.epoch))
    importlib.import_module("stages.teacher").main(next(instances("teacher")))
    assert saved == kept
    # What is lost by a stop right before a state would have been written.
    assert max(later - earlier for earlier, later in zip([0, *saved], saved, strict=False)) * seconds <= max(
        60, seconds
    )
