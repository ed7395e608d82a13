"""What a stage may see, what it leaves behind, and what it may pick up again."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import instances, read_yaml, strays
from attribution_preservation.pipeline.run.resume import fingerprint, resume_folder
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import Section
from attribution_preservation.storage.files import atomic_directory, atomic_file, digest, files_below, write_json
from attribution_preservation.storage.identity import Identity, by_level, identity_of, network_files, networks_below
from attribution_preservation.storage.tensors import read_arrays, write_tensors

DVC = """
stages:
  train:
    matrix: {method: "${train.methods}", group: "${seed_groups}"}
    cmd: unused
    params: [train.rate, "seed_groups.${item.group}", "matching.${item.method}"]
    deps: [code.py, "data", "models/${item.group}"]
    outs: ["out/${item.method}", {"plain": {cache: false}}]
"""
PARAMS = """
train: {methods: [naive, swa], rate: 0.5, secret: 1}
seed_groups: {all: [0, 1]}
matching: {naive: {strength: 0}, swa: {strength: 50}}
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC)
    Path("params.yaml").write_text(PARAMS)
    Path("code.py").write_text("x = 1\n")
    Path("data").mkdir()
    Path("data/images").write_bytes(b"abc")
    Path("models/all").mkdir(parents=True)
    for seed in (0, 1):
        Path(f"models/all/{seed}").write_bytes(bytes([seed]))
    return tmp_path


def stage(method="swa"):
    (instance,) = instances("train", {"method": method})
    return instance


def test_networks_that_differ_in_the_method_alone_have_one_level():
    def networks(seed, epoch):
        return [Identity("distill", seed, "half", method, epoch=epoch, teacher="vgg") for method in ("swa", "naive")]

    teacher = Identity("teacher", 1, teacher="vgg")
    given = [teacher, *networks(0, 2), *networks(0, 1), *networks(1, None), *networks(1, 0)]
    assert [members for _, members in by_level(given)] == [
        networks(0, 1), networks(0, 2), networks(1, None), networks(1, 0), [teacher],
    ]  # fmt: skip
    assert [level["epoch"] for level, _ in by_level(given)] == [1, 2, None, 0, None]


def test_a_matrix_has_an_instance_per_combination(root):
    assert [s.axes for s in instances("train")] == [
        {"method": "naive", "group": "all"},
        {"method": "swa", "group": "all"},
    ]
    assert stage().deps == [Path("code.py"), Path("data"), Path("models/all")]
    assert stage().outs == [Path("out/swa"), Path("plain")]


def test_outputs_are_named_by_their_paths(root):
    assert stage().out(Path("plain")) == Path("plain")
    with pytest.raises(UserError, match=r"stage train makes other without declaring it under outs"):
        stage().out(Path("other"))
    with pytest.raises(UserError, match=r"stage train makes one output and declares 2 under outs"):
        _ = stage().only_out
    Path("dvc.yaml").write_text(DVC.replace(', {"plain": {cache: false}}', ""))
    assert stage().only_out == Path("out/swa")


def test_only_declared_parameters_are_handed_out(root):
    assert stage().parameters("train.rate") == 0.5
    assert stage().parameters("matching.swa.strength") == 50  # below a declared key
    for key in ("train.secret", "train", "matching.naive", "train.rat"):
        with pytest.raises(UserError, match=f"reads the parameter {key} without declaring it"):
            stage().parameters(key)


class Rate(Section):
    rate: float


class Secrets(Rate):
    secret: int


def test_of_a_section_a_stage_gets_the_fields_that_it_declares(root):
    assert stage().section("train", Rate) == Rate(rate=0.5)
    with pytest.raises(UserError, match=r"reads the parameter train.secret without declaring it"):
        stage().section("train", Secrets)
    with pytest.raises(UserError, match=r"params.yaml: matching.swa.rate: field required"):
        stage().section("matching.swa", Rate)  # declared whole: what the schema does not have is refused


def test_only_declared_files_are_handed_out(root):
    assert stage().dep(Path("models/all/0")) == Path("models/all/0")
    for path in ("models", "models/other", "dat"):
        with pytest.raises(UserError, match="without declaring it under deps"):
            stage().dep(Path(path))


def test_an_axis_value_that_does_not_exist_is_named_with_those_that_do(root):
    with pytest.raises(UserError, match="no method ewa; there are: naive, swa"):
        list(instances("train", {"method": "ewa"}))


def test_a_parameter_that_params_lack_is_named(root):
    Path("params.yaml").write_text("seed_groups: {all: [0]}\ntrain: {methods: [swa]}\nmatching: {swa: 1}\n")
    with pytest.raises(UserError, match=r"train\.rate is missing"):
        stage().parameters("train.rate")


@pytest.mark.parametrize("text", ["a: [", "- 1", "!!python/object/apply:os.system ['true']", "\x00"])
def test_a_file_that_is_no_plain_mapping_is_refused(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        read_yaml(tmp_path / "params.yaml")


def key(seed=0, method="swa", versions=None, settings=None):
    inputs = {Path("models/all"): [Path(f"models/all/{seed}")]}
    return fingerprint(stage(method), seed, settings or {}, inputs, versions or {"torch": "2"})


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("params.yaml").write_text(PARAMS.replace("0.5", "0.6")),
        lambda: Path("params.yaml").write_text(PARAMS.replace("strength: 50", "strength: 51")),
        lambda: Path("code.py").write_text("x = 2\n"),
        lambda: Path("data/images").write_bytes(b"abd"),
        lambda: Path("data/more").write_bytes(b""),
        lambda: Path("models/all/0").write_bytes(b"z"),
    ],
    ids=["parameter", "matching", "code", "data byte", "data file", "teacher"],
)
def test_whatever_a_run_depends_on_changes_its_fingerprint(root, change):
    before = key()
    assert key() == before
    change()
    assert key() != before


def test_a_missing_dependency_says_what_to_run(root):
    Path("code.py").unlink()
    with pytest.raises(UserError, match=r"code\.py is missing; run the stage that makes it first"):
        key()


def test_seed_method_and_versions_are_part_of_the_fingerprint(root):
    assert len({key(), key(seed=1), key(method="naive"), key(versions={"torch": "3"})}) == 4


def test_a_runs_own_settings_stand_for_the_section_that_is_declared_for_several(root):
    own = {"matching": {"maps": "swa", "strength": 50}}
    before = key(settings=own)
    Path("params.yaml").write_text(PARAMS.replace("strength: 50", "strength: 50, beside: 1"))
    assert key(settings=own) == before
    assert key(settings={"matching": {"maps": "swa", "strength": 51}}) != before
    assert key() != before


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("params.yaml").write_text(PARAMS.replace("[0, 1]", "[0, 1, 2]")),
        lambda: Path("params.yaml").write_text(PARAMS.replace("[naive, swa]", "[naive, swa, ewa]")),
        lambda: Path("params.yaml").write_text(PARAMS.replace("secret: 1", "secret: 2")),
        lambda: Path("models/all/1").write_bytes(b"other"),
        lambda: (Path("data/__pycache__").mkdir(), Path("data/__pycache__/x.pyc").write_bytes(b"x")),
    ],
    ids=["another seed", "another method", "undeclared", "another seed's teacher", "byte code"],
)
def test_what_a_run_does_not_depend_on_leaves_its_fingerprint(root, change):
    before = key()
    change()
    assert key() == before


def test_a_complete_run_delivers_its_files(root):
    with resume_folder("k") as folder:
        assert not folder.complete
        (folder.work / "a.txt").write_text("result")
        folder.state.write_text("state")
        folder.finish()
    with resume_folder("k") as folder:
        assert folder.complete
        assert not folder.state.exists()
        Path("out").mkdir()
        Path("out/stale").write_text("from an earlier run")
        folder.deliver(Path("out"))
    assert [path.name for path in Path("out").iterdir()] == ["a.txt"]


def test_a_second_process_is_told_who_holds_the_run(root):
    code = (
        "from attribution_preservation.pipeline.run.resume import resume_folder\n"
        "with resume_folder('k'): print('held', flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {other.pid} .* is working on this very run"), resume_folder("k"):
            pass
        other.communicate("\n")
    with resume_folder("k") as folder:
        assert not folder.complete


def test_a_killed_holder_leaves_no_lock(root):
    code = (
        "import os, signal\nfrom attribution_preservation.pipeline.run.resume import resume_folder\n"
        "with resume_folder('k'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    with resume_folder("k") as folder:
        assert not folder.complete


WATCHED = """
import sys, time
import psutil
from attribution_preservation.pipeline.run import watchdog
watchdog._starter = lambda: psutil.Process(int(sys.argv[1])) if len(sys.argv) > 1 else None
watchdog.end_with_dvc("teacher")
print("at work", flush=True)
time.sleep(60)
"""


def watched(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_stage_ends_with_the_dvc_that_started_it():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as dvc:
        with watched(str(dvc.pid), DVC_STAGE="teacher@all") as stage_process:
            assert stage_process.stdout.readline() == "at work\n"
            dvc.kill()
            _, errors = stage_process.communicate()
        assert stage_process.returncode == 2
        assert errors == "teacher: error: dvc has ended, so this stage stops; run dvc repro to go on\n"


def test_a_stage_whose_dvc_ended_before_it_began_does_not_begin():
    with watched(DVC_STAGE="teacher@all") as stage_process:
        made, errors = stage_process.communicate()
    assert (stage_process.returncode, made) == (2, "")
    assert errors.startswith("teacher: error: dvc has ended")


def test_a_stage_that_nobody_started_waits_for_nobody():
    with watched() as stage_process:
        assert stage_process.stdout.readline() == "at work\n"
        stage_process.kill()


class Broken(Exception):
    pass


def fail_after(_done):
    raise Broken


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_json(path, {"a": 1})
    before = path.read_text()
    with pytest.raises(Broken), atomic_file(path) as partial:
        fail_after(partial.write_text("half"))
    assert path.read_text() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    with atomic_directory(path) as partial:
        (partial / "old").write_text("1")
    with pytest.raises(Broken), atomic_directory(path) as partial:
        fail_after((partial / "new").write_text("2"))
    assert [p.name for p in path.iterdir()] == ["old"]
    with atomic_directory(path) as partial:
        (partial / "new").write_text("2")
    assert [p.name for p in path.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half").write_text("x")
    with atomic_directory(tmp_path / "out") as partial:
        (partial / "whole").write_text("y")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole"]


def test_digests_are_the_published_ones(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a", "md5") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
    assert digest(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")  # FIPS 180


def test_byte_compiled_python_is_no_content(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"")
    (tmp_path / "a.py").write_bytes(b"")
    assert files_below([tmp_path]) == [tmp_path / "a.py"]


def test_every_network_of_a_run_has_a_file_name_of_its_own():
    names = {Identity("prune_weights", 0, "iterative", "swa", iteration).file_name for iteration in range(1, 17)}
    assert len(names) == 16
    assert "iteration-03.safetensors" in names
    assert Identity("distill", 0, "half", "swa", epoch=7).file_name == "epoch-07.safetensors"
    assert Identity("prune_weights", 0, "iterative", "swa", 3, 0).file_name == "iteration-03-epoch-00.safetensors"
    assert Identity("teacher", 0).file_name == "network.safetensors"
    kept = Identity("distill", 1, "half", "swa", epoch=7)
    assert identity_of({"identity": kept.as_dict()}, Path("a"), "") == kept


def test_network_files_are_found_in_one_order_without_partial_ones(tmp_path):
    for name in ("b/2.safetensors", "a/1.safetensors", "a/.3.safetensors.partial", "a/log.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in network_files(tmp_path)] == [
        "a/1.safetensors",
        "b/2.safetensors",
    ]


@pytest.mark.parametrize(
    "identity", [None, [], {"seed": 0}, {"compression": "a", "seed": 0, "x": 1}, {"compression": [], "seed": 0},
             {"compression": "a", "seed": True}, {"compression": "a", "seed": "0"}],
)  # fmt: skip
def test_an_identity_that_no_network_has_is_refused(tmp_path, identity):
    write_tensors(tmp_path / "a.safetensors", {}, {"identity": identity})
    with pytest.raises(UserError, match=r"a\.safetensors does not say which network it is of; mend it"):
        networks_below(tmp_path, "mend it")


def test_two_files_of_one_network_are_refused(tmp_path):
    for name in ("a", "b"):
        write_tensors(tmp_path / f"{name}.safetensors", {}, {"identity": Identity("teacher", 0).as_dict()})
    with pytest.raises(UserError, match=r"b\.safetensors and .*a\.safetensors are of the same network"):
        networks_below(tmp_path, "mend it")


def test_what_a_file_lacks_is_named(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {"map": torch.ones(2)}, {"size": 1})
    arrays, description = read_arrays(tmp_path / "a.safetensors", "mend it")
    assert arrays["map"].tolist() == [1, 1]
    assert (description["size"], description.get("other")) == (1, None)
    for lookup in (lambda: arrays["logits"], lambda: description["logits"]):
        with pytest.raises(UserError, match=r"a\.safetensors holds no logits; mend it"):
            lookup()


def test_tensors_that_numpy_lacks_are_refused(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {"map": torch.ones(2, dtype=torch.bfloat16)}, {})
    with pytest.raises(UserError, match=r"a\.safetensors was not written by this project \(.*BFloat16\); mend it"):
        read_arrays(tmp_path / "a.safetensors", "mend it")


def run_failing(monkeypatch, capsys, error):
    """What a stage prints, and its exit code, where its work ends with this error."""

    def fail(_stage):
        raise error

    monkeypatch.setattr(sys, "argv", ["stages.train", "--method", "swa"])
    with pytest.raises(SystemExit) as ended:
        run("train", fail)
    (line,) = capsys.readouterr().err.splitlines()
    return line, ended.value.code


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_full_memory_is_told_in_a_line(root, monkeypatch, capsys, error):
    line, code = run_failing(monkeypatch, capsys, error)
    assert line.startswith("train: error: memory is full; lower optimization.batch_size")
    assert code == 2


@pytest.mark.parametrize("failed", ["", "/models/x/y"])
@pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError, NotADirectoryError])
def test_a_cache_of_compiled_code_that_cannot_be_written_is_told_by_its_variable(
    root, monkeypatch, capsys, tmp_path, kind, failed
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "above" / "cache"))
    error = kind(errno.ENOENT, "No such file or directory", str(tmp_path / "above") + failed)
    line, code = run_failing(monkeypatch, capsys, error)
    remedy = "it was removed while" if failed else "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written"
    assert line.startswith("train: error: No such file or directory")
    assert remedy in line
    assert code == 2


def test_letters_that_are_no_letters_do_not_reach_the_terminal(root, monkeypatch, capsys):
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "a\n\x1b[2Jb")
    line, code = run_failing(monkeypatch, capsys, error)
    assert line.startswith("train: error: No such file or directory (a [2Jb); it was removed")
    assert code == 2


def test_what_nobody_foresaw_keeps_its_traceback(root, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages.train", "--method", "swa"])
    with pytest.raises(ZeroDivisionError):
        run("train", lambda stage: str(1 / 0))


def test_progress_without_a_terminal_is_plain_lines(capsys):
    progress = Progress(4, "training", every=0.0)
    progress.advance(1, "loss 0.5")
    progress.advance(3)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training: 1/4 img, ")
    assert "s left" in lines[0]
    assert lines[0].endswith("loss 0.5")
    assert lines[1].startswith("training: 4/4 img, ")


def test_folders_that_no_instance_makes_are_found(root):
    for folder in ("out/swa", "out/naive", "out/old", "plain", "unrelated"):
        Path(folder).mkdir(parents=True)
    assert strays() == [Path("out/old")]
    Path("params.yaml").write_text(PARAMS.replace("[naive, swa]", "[swa]"))
    assert strays() == [Path("out/naive"), Path("out/old")]


def test_a_folder_that_was_lost_between_two_moves_comes_back(tmp_path):
    (tmp_path / ".out.previous").mkdir()
    (tmp_path / ".out.previous" / "good").write_text("x")
    with pytest.raises(Broken), atomic_directory(tmp_path / "out") as partial:
        fail_after((partial / "new").write_text("y"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good"]
