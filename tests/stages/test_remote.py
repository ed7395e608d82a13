"""Results travel: pushed to a remote, pulled into a clone, verified there, and used without training."""

import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.conftest import dvc, hashes, write_parameters
from tests.stages.conftest import SMALL

OUTS = ("data/dataset", "models", "maps", "scores", "probes", "roar", "analysis")
BUCKET = "results"
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(params=["folder", "s3"])
def remote(request, tmp_path):
    """DVC's commands that set up a remote."""
    if request.param == "folder":
        yield in_a_folder(tmp_path)
        return
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = next(line.split()[-1] for line in server.stderr if "Running on http://" in line)
    boto3.client(
        "s3",
        endpoint_url=address,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    ).create_bucket(Bucket=BUCKET)
    yield [
        ["remote", "add", "--default", "shared", f"s3://{BUCKET}/attributions"],
        ["remote", "modify", "shared", "endpointurl", address],
    ]
    server.kill()
    server.communicate()


def in_a_folder(folder: Path) -> list[list[str]]:
    return [["remote", "add", "--default", "shared", str(folder / "remote")]]


def ran(root: Path, *arguments: str) -> str:
    done = dvc(root, *arguments, **KEYS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pushed_and_pulled(finished: Path, folder: Path, remote: list[list[str]]) -> tuple[Path, Path]:
    """A finished project that pushed to a remote, and a clone of its repository that pulled from there."""
    author, reader = folder / "author", folder / "reader"
    shutil.copytree(finished, author, ignore=shutil.ignore_patterns(".resume", "tmp"))
    for command in remote:
        ran(author, *command)
    ran(author, "push")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "results"]):
        subprocess.run(["git", *command], cwd=author, check=True)
    subprocess.run(["git", "clone", "-q", str(author), str(reader)], check=True)
    assert not any((reader / out).exists() for out in OUTS)
    assert "Running stage" not in ran(reader, "repro", "--allow-missing", "--dry")
    ran(reader, "pull")
    return author, reader


def test_what_was_pushed_comes_back_and_leaves_nothing_to_do(small_by_dvc, tmp_path, remote):
    author, reader = pushed_and_pulled(small_by_dvc, tmp_path, remote)
    assert hashes(reader, *OUTS) == hashes(author, *OUTS)
    assert "Running stage" not in ran(reader, "repro", "--allow-missing")


def test_tables_are_made_of_pulled_maps_without_training(small_by_dvc, tmp_path):
    author, reader = pushed_and_pulled(small_by_dvc, tmp_path, in_a_folder(tmp_path))
    # Another tie-break of the random baseline: scores, tests, tables and figures from the maps that were pulled.
    write_parameters(reader, SMALL | {"evaluate.random_seed": 1})
    made = ran(reader, "repro")
    ran_stages = {line.split("'")[1].split("@")[0] for line in made.splitlines() if line.startswith("Running stage")}
    assert ran_stages == {"code", "check", "evaluate", "analysis", "figures", "report"}
    assert hashes(reader, "models", "maps") == hashes(author, "models", "maps")
    assert (reader / "reports/results.csv").read_bytes() != (author / "reports/results.csv").read_bytes()
