"""A command prints in any encoding, to a reader that may have gone, or to nobody."""

import ast
import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

TEXT = "naïve ± 0.1 ‡ \u0130 \U0001f4a1 \udcff.jpg"  # the last is a file name's byte that is no UTF-8
COMMAND = """
import sys
from pathlib import Path
from attribution_preservation.errors import UserError
from attribution_preservation.process.progress import Progress
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.process.streams import tell

def main(stage):
    progress = Progress(1, TEXT, every=0)
    progress.advance(1)
    progress.close()
    tell(TEXT)
    tell("more\\n" * 10_000)
    Path("made").touch()
    if WRONG:
        raise UserError(TEXT)
    return TEXT

run("make", main)
"""
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENCODINGS = {
    **{name: ({"PYTHONIOENCODING": name}, name) for name in ("ascii", "latin-1", "cp1252", "cp437", "utf-8")},
    "strict": ({"PYTHONIOENCODING": "latin-1:strict"}, "latin-1"),
    "C": (PLAIN_C, "ascii"),
}


def run_command(root, wrong=False, variables=(), **options):
    (root / "dvc.yaml").write_text("stages: {make: {cmd: unused}}\n", encoding="utf-8")
    (root / "params.yaml").write_text("{}\n", encoding="utf-8")
    code = COMMAND.replace("TEXT", ascii(TEXT)).replace("WRONG", str(wrong))
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | dict(variables),
        check=False,
        **options,
    )


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_stage_prints_in_any_encoding(tmp_path, name):
    variables, encoding = ENCODINGS[name]
    done = run_command(tmp_path, variables=variables, capture_output=True)
    encoded = TEXT.encode(encoding, "backslashreplace")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(encoded + b"\n")
    assert done.stdout.endswith(b"make: " + encoded + b"\n")
    assert done.stderr.startswith(encoded + b": 1/1 img")


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_stage_refuses_in_any_encoding(tmp_path, name):
    variables, encoding = ENCODINGS[name]
    done = run_command(tmp_path, wrong=True, variables=variables, capture_output=True)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == ("make: error: " + TEXT.replace(" \udcff", " ")).encode(encoding, "backslashreplace")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stage_ends_its_work_after_its_reader_has_gone(tmp_path, stream):
    reader, writer = os.pipe()
    os.close(reader)
    other = "stderr" if stream == "stdout" else "stdout"
    done = run_command(tmp_path, **{stream: writer, other: subprocess.PIPE})
    os.close(writer)
    assert done.returncode == 0
    assert (tmp_path / "made").exists()
    assert b"BrokenPipe" not in (done.stdout or b"") + (done.stderr or b"")


def test_a_stage_works_where_nobody_listens(tmp_path):
    done = run_command(tmp_path, preexec_fn=lambda: (os.close(0), os.close(1), os.close(2)))
    assert done.returncode == 0
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("module", ["stages.check", "stages.audit", "stages.cluster", "benchmarks"])
def test_help_is_printed_in_any_encoding_and_into_a_closed_pipe(module):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", module, "--help"]
    closed = subprocess.run(command, cwd=PROJECT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert closed.stderr == b""
    plain = subprocess.run(command, cwd=PROJECT, env=os.environ | PLAIN_C, capture_output=True, check=False)
    assert (plain.returncode, plain.stderr) == (0, b"")
    assert plain.stdout.isascii()


def test_whatever_is_printed_goes_through_one_place():
    callers = {
        str(path.relative_to(PROJECT))
        for folder in ("attribution_preservation", "stages", "benchmarks")
        for path in (PROJECT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert callers == {"attribution_preservation/process/streams.py"}
