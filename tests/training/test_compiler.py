"""A network that cannot be compiled is one line before it is trained, wherever TorchInductor fails."""

import pickle

import pytest
import torch

from attribution_preservation.data.inputs import Normalize
from attribution_preservation.errors import UserError
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.training.compiler import cannot_compile, compiler_failed, try_compiler
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.processes import Processes
from tests.training.test_training import RUNTIME, _Hungry, make_trainer, network, schedule, store  # noqa: F401

CPU = torch.device("cpu")
# A compiler that is there, and lacks what the others need.
FAILING = """#!/bin/sh
case "$*" in *--version*) echo "g++ 13"; exit 0;; esac
echo "main.cpp:1:10: {words}" >&2
exit 1
"""


@pytest.fixture(autouse=True)
def afresh():
    # One process tries once, and torch gives up compiling a function that was compiled often.
    torch._dynamo.reset()
    try_compiler.cache_clear()
    yield
    torch._dynamo.reset()
    try_compiler.cache_clear()


def with_compiler(path):
    from torch._inductor import config

    return config.patch({"cpp.cxx": (None, str(path))})


@pytest.mark.parametrize("compiler", ["/nonexistent/g++", "/bin/false", "no-such-compiler"])
def test_a_compiler_that_is_missing_is_one_line(compiler):
    with with_compiler(compiler), pytest.raises(UserError) as refused:
        try_compiler(CPU)
    message = str(refused.value)
    assert message.startswith("runtime.compile: TorchInductor cannot compile here (No working C++ compiler")
    assert compiler in message
    assert message.endswith("install a C++ compiler (g++), or name one in CXX, or set runtime.compile to false")
    assert "\n" not in message


@pytest.mark.parametrize(
    "words", ["fatal error: Python.h: No such file or directory", "fatal error: omp.h: No such file", "error: no space"]
)
def test_a_compiler_that_fails_is_one_line_with_its_first_error(tmp_path, words):
    compiler = tmp_path / "g++"
    compiler.write_text(FAILING.format(words=words))
    compiler.chmod(0o755)
    with with_compiler(compiler), pytest.raises(UserError) as refused:
        try_compiler(CPU)
    assert f"({words}); the compiler (g++, or the one in CXX) needs Python's headers" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"Not a directory.*; set TORCHINDUCTOR_CACHE_DIR to a folder that can be"):
        try_compiler(CPU)


def test_what_was_compiled_before_does_not_hide_that_nothing_can_be_now():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    try_compiler(CPU)
    assert torch.equal(torch.rand(3), expected)  # a try draws nothing
    try_compiler.cache_clear()
    with with_compiler("/nonexistent/g++"), pytest.raises(UserError, match="No working C"):
        try_compiler(CPU)


def trainer(store, student):  # noqa: F811
    parts = make_trainer(student, store, schedule(), key=("k",))
    return Trainer(
        TaskObjective(student),
        parts._batches,
        Normalize([0.5] * 3, [0.2] * 3),
        key=("k",),
        mean_ap=parts._mean_ap,
        processes=Processes(RUNTIME, CPU),
        compiled=True,
        progress=parts._progress,
        save=parts._save,
    )


def test_a_trainer_finds_out_before_its_first_step(store):  # noqa: F811
    with with_compiler("/nonexistent/g++"), pytest.raises(UserError, match=r"runtime\.compile: TorchInductor"):
        trainer(store, network())


def failure():
    """What torch raises where it compiles a network."""
    with with_compiler("/nonexistent/g++"):
        try:
            torch.compile(lambda values: values * 1.5)(torch.ones(3))
        except Exception as error:
            return error
    return None


def test_a_failure_in_a_step_is_the_same_line(store):  # noqa: F811
    error = failure()
    assert compiler_failed(error)
    assert not compiler_failed(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    built = make_trainer(network(), store, schedule(), key=("k",))
    built._objective = _Hungry(built.student, 0, error)
    with pytest.raises(UserError) as refused:
        built.fit(schedule())
    assert str(refused.value) == str(cannot_compile(error))
    # It reaches the process that started this one, where several train at once.
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(cannot_compile(error))
