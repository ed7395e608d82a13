"""`python -m benchmarks gpu`: what was measured is kept, whatever stops the rest."""

import json
import subprocess
import sys
import time

import pytest
import torch

from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.matching.losses import LOSSES
from benchmarks.gpu import correctness, pack, sequence
from benchmarks.gpu.machine import Machine, TimeIsUp, at_most
from benchmarks.measurement import Figure
from tests.conftest import PROJECT


def figure(name="f", value=1.0, target=None):
    return Figure(name, value, "share", "lower", target)


def steps(monkeypatch, **of):
    monkeypatch.setattr(sequence, "STEPS", {name: sequence.Step(seconds, act) for name, (seconds, act) in of.items()})


def run(monkeypatch, out, *words):
    """Exit code of the sequence."""
    monkeypatch.chdir(PROJECT)
    with pytest.raises(SystemExit) as ended:
        sequence.main(["--out", str(out), *words])
    return ended.value.code


def test_at_toy_size_everything_runs_on_a_cpu_and_is_not_done_twice(tmp_path):
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks", "gpu", "--out", str(tmp_path), "--minutes", "30"]
    words += ["--voc", str(PROJECT.parent / "shared" / "data" / "voc2012-subset.tgz")]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    names = {f"{name}-cpu.json" for name in sequence.STEPS}
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files.keys() == names
    for name in names:
        report = json.loads(files[name])
        assert report["device"] == "CPU, toy size"
        assert report["figures"]
    measured = {f["name"] for f in json.loads(files["correctness-cpu.json"])["figures"]}
    assert {"swa_32-true_gradient_error", "sswa_bf16-mixed_loss_error", "lrp_map_error"} <= measured
    assert {
        "untrained_head_lrp_map_error",
        "tensors_unlike_in_a_second_run",
        "second_epoch_on_the_cpu_error",
        "beyond_their_tolerance",
    } <= measured
    assert "photographs_epoch" in {f["name"] for f in json.loads(files["real-cpu.json"])["figures"]}
    again = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert again.stdout.count("done before") == len(names)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_what_was_measured_before_the_time_was_up_is_kept(monkeypatch, tmp_path, capsys):
    def long(machine):
        yield figure("first")
        yield figure("second")
        raise TimeIsUp

    steps(monkeypatch, long=(0, long), next=(0, lambda machine: iter([figure("third")])))
    assert run(monkeypatch, tmp_path) == 1
    kept = json.loads((tmp_path / "long-cpu.part.json").read_text())
    assert [f["name"] for f in kept["figures"]] == ["first", "second"]
    assert "long: time is up after 2 figures" in capsys.readouterr().out

    def shorter(machine):
        yield figure("first", 5.0)
        raise TimeIsUp

    steps(monkeypatch, long=(0, shorter))
    assert run(monkeypatch, tmp_path) == 1
    kept = json.loads((tmp_path / "long-cpu.part.json").read_text())
    assert {f["name"]: f["value"] for f in kept["figures"]} == {"first": 5.0, "second": 1.0}
    steps(monkeypatch, long=(0, lambda machine: iter([figure("first")])))
    assert run(monkeypatch, tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"long-cpu.json", "next-cpu.json"}


def test_the_clock_ends_what_takes_too_long():
    def forever():
        while True:
            pass

    with pytest.raises(TimeIsUp), at_most(0.01):
        forever()
    with at_most(60):
        pass


def test_a_step_without_enough_time_is_not_begun(monkeypatch, tmp_path, capsys):
    steps(monkeypatch, big=(600, lambda machine: 1 / 0), small=(1, lambda machine: iter([figure()])))
    assert run(monkeypatch, tmp_path, "--minutes", "5") == 1
    assert "big: not begun, 300 s are left" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["small-cpu.json"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("memory is full with batches of 64 images; ... 16 fit"), "bad: memory is full with batches of 64"),
        (
            RuntimeError("CUDA error: no kernel image\nmore words"),
            "bad: failed (RuntimeError: CUDA error: no kernel image);",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "bad: failed (OutOfMemoryError: CUDA out of memory. Tried);",
        ),
        (KeyError(), "bad: failed (KeyError: KeyError);"),
    ],
)
def test_a_step_that_fails_is_one_line_and_the_next_one_runs(monkeypatch, tmp_path, capsys, error, line):
    def bad(machine):
        yield figure("good")
        raise error

    steps(monkeypatch, bad=(0, bad), next=(0, lambda machine: iter([figure()])))
    assert run(monkeypatch, tmp_path) == 1
    lines = [said for said in capsys.readouterr().out.splitlines() if said.startswith("bad: ")]
    assert len(lines) == 2
    assert lines[1].startswith(line)
    assert json.loads((tmp_path / "bad-cpu.part.json").read_text())["figures"][0]["name"] == "good"
    assert (tmp_path / "next-cpu.json").exists()


def test_a_missed_target_is_told_and_ends_with_1(monkeypatch, tmp_path, capsys):
    steps(monkeypatch, late=(0, lambda machine: iter([figure(value=2.0, target=1.0)])))
    assert run(monkeypatch, tmp_path) == 1
    assert "MISSED" in capsys.readouterr().out
    assert (tmp_path / "late-cpu.json").exists()
    assert run(monkeypatch, tmp_path) == 1  # also where it was done before
    assert "1 targets MISSED" in capsys.readouterr().out
    other = json.loads((tmp_path / "late-cpu.json").read_text()) | {"device": "another card"}
    (tmp_path / "late-cpu.json").write_text(json.dumps(other))
    assert run(monkeypatch, tmp_path) == 1
    assert "is of another device (another card)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "--minutes: 0 is no time"),
        (["--minutes", "nan"], "--minutes: nan is no time"),
        (["--voc", "nowhere.tgz"], "--voc: nowhere.tgz is missing"),
    ],
)
def test_what_cannot_be_is_one_line(monkeypatch, tmp_path, words, message):
    assert run(monkeypatch, tmp_path, *words).startswith(f"benchmarks gpu: {message}")


def test_a_torch_that_is_too_old_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "__version__", "2.8.1+cu128")
    assert (
        run(monkeypatch, tmp_path)
        == "benchmarks gpu: torch 2.8.1+cu128 is here, and this project needs 2.9; install a newer one"
    )
    monkeypatch.setattr(torch, "__version__", "2.11.0")
    steps(monkeypatch)
    assert run(monkeypatch, tmp_path) == 0


def test_a_gpu_that_computes_something_else_is_found(monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(correctness.Setting, "matchings", lambda setting: {"swa": settings_of("swa", strength=50.0)})
    step, calls = correctness._step, []

    def off(*arguments):
        calls.append(arguments)
        loss, gradient = step(*arguments)
        return (loss, gradient * 1.01) if len(calls) == 3 else (loss, gradient)  # the third is the GPU's float32

    monkeypatch.setattr(correctness, "_step", off)
    figures = {f.name: f for f in correctness.losses(Machine("cpu", time.monotonic() + 60))}
    assert [name for name, f in figures.items() if f.missed] == ["swa_32-true_gradient_error"]
    assert figures["swa_32-true_gradient_error"].value == pytest.approx(0.01, rel=0.01)


def test_what_is_not_a_number_is_no_success(monkeypatch):
    nothing = torch.full((3,), float("nan"))
    assert correctness.error(nothing, torch.ones(3)) == float("inf")
    assert figure(value=float("inf"), target=1.0).missed
    assert figure(value=float("nan"), target=1.0).missed
    assert correctness.error(torch.zeros(3), torch.ones(3)) == 1.0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_tolerance_lets_an_empty_gradient_pass(monkeypatch, device):
    monkeypatch.chdir(PROJECT)
    setting = correctness.SETTINGS[device]
    monkeypatch.setitem(correctness.SETTINGS, "cpu", setting)
    monkeypatch.setattr(correctness.Setting, "matchings", lambda setting: {"swa": settings_of("swa", strength=50.0)})
    bounds = {f.name: f.target for f in correctness.losses(Machine("cpu", time.monotonic() + 60))}
    assert bounds["swa_32-true_gradient_error"] < 1e-3
    assert bounds["swa_bf16-mixed_gradient_error"] < 0.2


def test_every_matching_loss_of_the_published_study_is_compared(monkeypatch):
    monkeypatch.chdir(PROJECT)
    words = set(LOSSES) - {"none"}
    for setting in correctness.SETTINGS.values():
        assert {matching.maps for matching in setting.matchings().values()} == words


def test_what_travels_is_what_the_machine_lacks(monkeypatch):
    monkeypatch.chdir(PROJECT)
    modules = pack.imported(pack.ROOTS)
    assert {"torch", "captum", "pydantic", "ruamel"} <= modules
    assert not modules & {"dvc", "ray", "vl_convert", "zennit", "altair", "attribution_preservation"}
    wheels = pack.missing(pack.MACHINE)
    assert {"captum", "pydantic", "pydantic-core", "ruamel-yaml", "annotated-types"} <= set(wheels)
    assert not {"torch", "numpy", "joblib", "matplotlib", "lightning-fabric", "dvc"} & set(wheels)
    assert "captum" not in pack.missing((*pack.MACHINE, "captum"))
