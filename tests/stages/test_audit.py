"""`python -m stages.audit`: from a table, figure, metric, row or network back to the data set, and what contradicts."""

import functools
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from attribution_preservation.pipeline.provenance import fingerprint, verification
from attribution_preservation.pipeline.provenance.record import read_record
from attribution_preservation.pipeline.provenance.trace import trace
from attribution_preservation.pipeline.provenance.verification import differences
from attribution_preservation.pipeline.run.graph import every_instance
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from tests.conftest import BY_TWOS, PROJECT, command_of, dvc, run_stage, write_parameters

TABLE = "reports/tables/compressions_all.md"
TRAINING = ("teacher", "prune_weights", "prune_channels", "distill", "scratch")
# What git does not keep.
UNTRACKED = ("data", "models", "maps", "scores", "probes", "roar", "analysis", "environments", ".resume", ".dvc")


def audit(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run_stage(root, "audit", *arguments)


def audit_json(root: Path, *arguments: str) -> dict:
    done = audit(root, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def root(finished_by_dvc, tmp_path_factory):
    """A copy that a test may change if it puts everything back."""
    copy = tmp_path_factory.mktemp("audited") / "project"
    shutil.copytree(finished_by_dvc, copy, ignore=shutil.ignore_patterns(".resume", "cache"))
    return copy


@pytest.fixture(scope="module")
def lock(root):
    return read_yaml(root / "dvc.lock")["stages"]


@pytest.fixture(scope="module")
def whole(root):
    return audit_json(root, TABLE)


@contextmanager
def changed(path: Path, old: str | bytes, new: str | bytes) -> Iterator[None]:
    before = path.read_bytes()
    old, new = (part.encode() if isinstance(part, str) else part for part in (old, new))
    assert old in before
    path.write_bytes(before.replace(old, new, 1) if old else before + new)
    yield
    path.write_bytes(before)


def recorded(entries: list[dict]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries}


def test_the_tree_of_a_table_is_the_graph_that_dvc_draws(root, whole):
    drawn = dvc(root, "dag", "--mermaid", "report").stdout
    names = dict(re.findall(r'(node\d+)\["?([^"\]]+)"?\]', drawn))
    edges = {(names[maker], names[reader]) for maker, reader in re.findall(r"(node\d+)-->(node\d+)", drawn)}
    # The manifests that the stage code writes are told as the modules that they list.
    edges = {(maker, reader) for maker, reader in edges if maker != "code"}
    assert len(edges) > len(names) > 20
    assert set(whole["instances"]) == set(names.values()) - {"code"}
    assert {(maker, name) for name, of in whole["instances"].items() for maker in of["made_from"]} == edges
    assert whole["made_by"] == ["report"]


def test_every_instance_is_told_as_dvc_lock_has_it(root, whole, lock):
    for name, instance in whole["instances"].items():
        entry = lock[name]
        assert instance["command"] == entry["cmd"]
        assert instance["parameters"] == {
            key: value for of in entry.get("params", {}).values() for key, value in of.items()
        }
        manifest = f"data/code/{name}.txt"
        deps = recorded(entry["deps"])
        assert instance["data"] == {path: md5 for path, md5 in deps.items() if path != manifest}
        text = (root / manifest).read_text()
        assert hashlib.md5(text.encode()).hexdigest() == deps[manifest]
        assert [f"{md5}  {path}" for path, md5 in instance["code"].items()] == text.splitlines()
        assert instance["code"].keys() > {
            f"{command_of(name.split('@')[0])[0].replace('.', '/')}.py",
            "attribution_preservation/errors.py",
        }
        assert instance["outs"] == recorded(entry["outs"])
    assert "data/dataset" in whole["instances"]["teacher@vgg6_bn-all"]["data"]


def test_every_parameter_that_dvc_yaml_declares_is_told_with_its_value(root, whole):
    graph = read_yaml(root / "dvc.yaml")["stages"]
    params = read_yaml(root / "params.yaml")
    assert whole["instances"]["check"]["parameters"] == params
    for name in whole["instances"].keys() - {"check"}:
        stage, _, values = name.partition("@")
        declared = " ".join(graph[stage]["params"])
        for axis, value in zip(graph[stage].get("matrix", {}), filter(None, values.split("-")), strict=True):
            declared = declared.replace(f"${{item.{axis}}}", value)
        declared = declared.replace("${scratch.teacher}", params["scratch"]["teacher"])
        assert whole["instances"][name]["parameters"] == {key: at(params, key) for key in declared.split()}


def at(params: dict, key: str):
    return functools.reduce(lambda value, part: value[part], key.split("."), params)


def test_the_text_tells_what_json_tells(root, whole):
    text = audit(root, TABLE).stdout
    assert text.startswith(f"{TABLE}\ncommit: none, git does not have this project\n")
    for name, instance in whole["instances"].items():
        assert re.search(rf"^(│ )*{re.escape(name)}$", text, re.MULTILINE)
        assert f"command: {instance['command']}" in text
        assert f"fingerprint: {instance['fingerprint']}" in text
        for path, md5 in (instance["code"] | instance["data"] | instance["outs"]).items():
            assert f"{path}  {md5}" in text
        assert name == "check" or all(f"{key}: " in text for key in instance["parameters"])
    machine = whole["instances"]["teacher@vgg6_bn-all"]["environment"]
    assert f"Python {machine['python']}, torch {machine['libraries']['torch']}" in text
    assert f"{machine['device']}, CUDA none" in text


def test_what_each_instance_computed_with_is_told_and_names_no_machine(root, whole):
    for name, instance in whole["instances"].items():
        path = next((root / out for out in instance["outs"] if out.startswith("environments/")), None)
        if name == "check":
            assert instance["environment"] is path is None
        elif name != "report":
            assert instance["environment"] == json.loads(path.read_text())
            assert set(instance["environment"]) == {"python", "libraries", "device", "cuda"}
    assert whole["instances"]["report"]["environment"]["libraries"].keys() >= {"pandas"}


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        ("models/all/distill/half/sswa", {"distill@half-sswa-all", "teacher@vgg6_bn-all", "dataset", "check"}),
        ("models/all/teacher/vgg6_bn/seed-0/network.safetensors", {"teacher@vgg6_bn-all", "dataset", "check"}),
        ("data/dataset", {"dataset", "check"}),
    ],
)
def test_a_network_knows_nothing_of_what_comes_after_it(root, artifact, expected):
    report = audit_json(root, artifact, "--check")
    assert set(report["instances"]) == expected
    assert report["differences"] == []


@pytest.mark.parametrize(
    ("artifact", "maker"),
    [
        ("reports/figures/heatmaps_distill.png", "figures"), ("reports/metrics.json", "report"),
        ("reports/index.html", "report"), ("analysis/significance.csv", "analysis"),
        ("scores/all/distill", "evaluate@distill-all"),
    ],
)  # fmt: skip
def test_whatever_a_stage_makes_can_be_asked_about(root, artifact, maker):
    report = audit_json(root, artifact, "--check")
    assert (report["made_by"], report["differences"]) == ([maker], [])
    assert {"dataset", "teacher@vgg6_bn-all"} <= set(report["instances"])


def test_a_path_may_be_written_in_several_ways(root, whole):
    for name in (str(root / TABLE), f"./{TABLE}", f"reports/../{TABLE}"):
        assert audit_json(root, name)["instances"] == whole["instances"]
    everything = audit_json(root, ".", "--check")
    assert everything["differences"] == []
    assert set(everything["made_by"]) == set(everything["instances"]) >= set(whole["instances"])


def number_of(root: Path, **cells) -> int:
    """A row of results.csv, counted from 1 below the heading."""
    results = pd.read_csv(root / "reports/results.csv", keep_default_na=False)
    for column, cell in cells.items():
        results = results[results[column] == cell]
    assert len(results)
    return int(results.index[0]) + 1


HALF = {"compression": "distill", "student": "half"}


@pytest.mark.parametrize(
    ("cells", "trained", "scored"),
    [
        (HALF | {"method": "naive", "metric": "roc_auc", "population": "own"}, {"distill@half-naive-all"}, "evaluate"),
        (HALF | {"method": "naive", "metric": "roc_auc", "population": "common"},
         {"distill@half-naive-all", "distill@half-sswa-all"}, "evaluate"),
        (HALF | {"method": "sswa", "metric": "roar_f1", "at": "50"}, {"distill@half-sswa-all"}, "roar"),
        (HALF | {"method": "sswa", "metric": "divergence"}, {"distill@half-sswa-all"}, "evaluate"),
        ({"compression": "prune_channels", "method": "share_0.5", "metric": "f1"},
         {"prune_channels@rate_70-share-all"}, "evaluate"),
        ({"compression": "prune_weights", "student": "iterative", "method": "sswa", "metric": "cka", "at": "conv4"},
         {"prune_weights@iterative-sswa-all"}, "probe"),
        ({"compression": "scratch", "metric": "f1"}, {"scratch@half-all"}, "evaluate"),
        ({"compression": "teacher", "metric": "f1"}, set(), "evaluate"),
    ],
)  # fmt: skip
def test_a_row_names_what_it_comes_from_and_no_more(root, cells, trained, scored):
    number = number_of(root, **cells)
    report = audit_json(root, f"reports/results.csv:{number}", "--check")
    assert report["differences"] == []
    assert {key: report["row"][key] for key in cells} == cells
    names = set(report["instances"])
    assert {name for name in names if name.startswith(TRAINING)} == trained | {"teacher@vgg6_bn-all"}
    scoring = {name.partition("@")[0] for name in names} & {"evaluate", "probe", "roar"}
    assert scoring == {scored}
    assert {"report", "dataset", "check"} <= names
    assert not names & {"figures", "analysis"}
    # Words of the row stand above the tree.
    first = audit(root, f"reports/results.csv:{number}").stdout.splitlines()[0]
    assert all(f"{column} {cell}" in first for column, cell in cells.items())


def test_footers_bear_the_fingerprint_of_the_record(root, whole, lock):
    entry = lock["report"]
    content = {
        "command": entry["cmd"], "parameters": entry["params"]["params.yaml"], "deps": recorded(entry["deps"]),
    }  # fmt: skip
    expected = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    assert whole["instances"]["report"]["fingerprint"] == expected
    signed = [path for path in (root / "reports/tables").iterdir() if path.suffix in (".md", ".tex")]
    assert len(signed) > 40
    for path in signed:
        last = path.read_text().splitlines()[-1]
        assert f"Made by stage report, fingerprint {expected}: " in last
        assert f"`python -m stages.audit reports/tables/{path.name}`" in last
    page = (root / "reports/index.html").read_text()
    assert f"fingerprint {expected}" in page
    assert "python -m stages.audit reports/index.html" in page


def test_what_nobody_touched_passes_whatever_of_it_is_here(root, whole, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(root, clone, ignore=lambda folder, _: UNTRACKED if Path(folder) == root else ())
    shutil.copytree(root / "data" / "code", clone / "data" / "code")  # which git has
    part = tmp_path / "part"
    shutil.copytree(root, part)
    shutil.rmtree(part / "models/all/distill")
    shutil.rmtree(part / "maps")
    for copy in (root, clone, part):
        done = audit(copy, TABLE, "--check")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "check: all as dvc.lock says")
    # The summary tells what the files beside the outputs would.
    assert audit_json(clone, TABLE) == whole
    with changed(clone / "reports/environments.json", '"python": "3', '"python": "2'):
        instances = audit_json(clone, "reports/figures/untrained.csv")["instances"]
        assert None in [instance["environment"] for instance in instances.values()]
        assert "not told here; dvc pull brings the file that tells" in audit(clone, "reports/figures").stdout


CODE = "attribution_preservation/training"
NETWORK = "models/all/teacher/vgg6_bn/seed-0/network.safetensors"


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        (TABLE, "| 30", "| 31", "reports/tables is "),
        ("params.yaml", "percents:\n  - 50", "percents:\n  - 60",
         "roar@all: roar.percents is [60] in params.yaml, [50]"),
        (f"{CODE}/runtime.py", "", "# one line more\n", f"{CODE}/runtime.py is "),
        ("stages/teacher.py", "", "# one line more\n", "stages/teacher.py is "),
        (NETWORK, "", "\0", "models/all/teacher/vgg6_bn is "),
        ("dvc.yaml", "python -m stages.analysis", "python -m stages.analysis --debug", "analysis: the command is "),
        (TABLE, "fingerprint ", "fingerprint 0123456789abcdef", f"{TABLE} bears the fingerprint 0123456789abcdef; "),
    ],
)  # fmt: skip
def test_whatever_is_not_as_recorded_is_named(root, file, old, new, named):
    with changed(root / file, old, new):
        done = audit(root, TABLE, "--check")
        assert done.returncode == 1
        assert f"\ncheck: {named}" in done.stdout
        assert "all as dvc.lock says" not in done.stdout
        assert audit(root, TABLE, "--check", "--json").returncode == 1
        assert audit(root, TABLE).returncode == 0  # who does not ask is not told
    assert audit(root, TABLE, "--check").returncode == 0


@pytest.fixture
def contradictions(root, monkeypatch):
    """What `--check` finds of the table, in this process; nothing but params.yaml, dvc.yaml and dvc.lock may change."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(verification, "dvc_md5", functools.cache(verification.dvc_md5))
    read = functools.cache(read_record)

    def listed() -> list[str]:
        stages = every_instance()
        return list(differences(trace(read(Path("dvc.lock").read_text()), stages, TABLE), stages))

    return listed


# In the record the number stands as `5e-05`, which is a word by the rules of YAML 1.1.
def test_a_small_number_is_the_one_that_trained_however_it_is_written(root, lock, contradictions):
    name, key = "teacher@vgg6_bn-all", "teacher.optimization"
    assert lock[name]["params"]["params.yaml"][key]["weight_decay"] == 0.00005
    for text in ("0.00005", "5e-5", "5E-05", "+5.0e-5", ".5e-4"):
        with changed(root / "params.yaml", "weight_decay: 5e-05", f"weight_decay: {text}"):
            lines = contradictions()
        assert lines == [], text
    with changed(root / "params.yaml", "weight_decay: 5e-05", "weight_decay: 0.00005"):
        done = audit(root, NETWORK, "--check")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "check: all as dvc.lock says")
    assert "weight_decay: 5e-05" in done.stdout
    with changed(root / "params.yaml", "weight_decay: 5e-05", "weight_decay: 6e-5"):
        lines = contradictions()
    assert lines == [
        f"{who}: {key}.weight_decay is 6e-05 in params.yaml, 5e-05 by its record" for who in (name, "check")
    ]


def test_every_instance_that_ran_had_the_fingerprint_of_its_record(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(fingerprint, "dvc_md5", functools.cache(fingerprint.dvc_md5))
    record, stages = read_record((root / "dvc.lock").read_text()), every_instance()
    of_stages = {
        name: fingerprint.fingerprint_of(stage) for name, stage in stages.items() if name not in ("code", "check")
    }
    assert len(of_stages) > 20
    assert of_stages == {name: record[name].fingerprint for name in of_stages}


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "dvc.lock"])
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["line ends", "line ends and byte order mark"])
def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(root, contradictions, name, start):
    text = (root / name).read_text()
    with changed(root / name, text, start + text.replace("\n", "\r\n")):
        lines = contradictions()
    assert lines == []


def test_outputs_that_are_links_into_the_cache_are_what_they_link_to(finished_by_dvc, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished_by_dvc, copy, ignore=shutil.ignore_patterns(".resume"))
    for arguments in (("config", "cache.type", "symlink"), ("checkout", "--relink")):
        done = dvc(copy, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    network = copy / NETWORK
    assert network.is_symlink()
    assert (copy / "analysis/significance.csv").is_symlink()  # an output that is one file
    report = audit_json(copy, ".", "--check")
    assert (report["differences"], report["not_here"]) == ([], [])
    assert audit_json(copy, str(network))["instances"].keys() == {"teacher@vgg6_bn-all", "dataset", "check"}
    # A link to other bytes is another output.
    network.unlink()
    network.symlink_to(copy / "params.yaml")
    done = audit(copy, NETWORK, "--check")
    assert done.returncode == 1
    assert "check: models/all/teacher/vgg6_bn is " in done.stdout


# The folders that the stage code reads, and its manifests. A table depends on single modules, which are compared one
# by one; the audit of the whole project compares the folders.
OF_CODE = ("stages", "attribution_preservation", "data/code")


def test_a_hash_of_the_record_cannot_be_changed_unseen(root, lock, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(verification, "dvc_md5", functools.cache(verification.dvc_md5))
    stages, text = every_instance(), (root / "dvc.lock").read_text()
    assert not list(differences(trace(read_record(text), stages, TABLE), stages))
    places = [match.start(1) for match in re.finditer(r" md5: ([0-9a-f])", text)]
    assert len(places) == sum(len(entry.get(kind, [])) for entry in lock.values() for kind in ("deps", "outs"))
    for place in places[::23]:
        path = re.findall(r"path: (\S+)\n", text[:place])[-1]
        edited = text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :]
        audited = "." if path in OF_CODE else TABLE
        lines = list(differences(trace(read_record(edited), stages, audited), stages))
        assert any(line.startswith(f"{path} is ") for line in lines), path


def test_a_stage_that_the_record_lacks_is_named(root, lock):
    text = (root / "dvc.lock").read_text()
    without = format_yaml({"schema": "2.0", "stages": {k: v for k, v in lock.items() if k != "roar@all"}})
    with changed(root / "dvc.lock", text, without):
        done = audit(root, TABLE, "--check")
    assert done.returncode == 1
    assert f"check: roar@all is not in dvc.lock, although {TABLE} is made from what it makes" in done.stdout
    assert "\nroar@all (not in dvc.lock; run dvc repro)\n" in done.stdout


def refused(root: Path, *arguments: str) -> str:
    done = audit(root, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("audit: error: ")
    return line.removeprefix("audit: error: ")


@pytest.mark.parametrize(
    ("artifact", "message"),
    [
        ("dvc.yaml", "dvc.yaml: no stage of dvc.yaml makes it; the outs of dvc.yaml can be audited"),
        ("reports/tables/none.md", "reports/tables/none.md is not here; dvc repro makes it, or dvc pull brings it"),
        ("/", "/ is not in the project "),
        ("../elsewhere.md", "../elsewhere.md is not in the project "),
        *((f"reports/results.csv:{row}", f"reports/results.csv:{row}: only rows of reports/results.csv are told apart")
          for row in ("0", "-1", "x", "1:2")),
        ("reports/metrics.json:2", "reports/metrics.json:2: only rows of reports/results.csv are told apart"),
        ("reports/results.csv:99999", "reports/results.csv has fewer than 99999 rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_audited_is_one_line(root, artifact, message):
    assert refused(root, artifact).startswith(message)


def test_a_row_that_is_damaged_is_one_line(root):
    results = root / "reports/results.csv"
    for old, new in ((b",metric,", b",other,"), (b"tiny,", b"\xff"), (b"tiny,", b""), (b"\n", b"\n\0\n")):
        with changed(results, old, new):
            assert refused(root, "reports/results.csv:1").startswith("reports/results.csv: row 1 is damaged; restore")


def test_a_record_that_is_missing_or_damaged_is_one_line(root):
    record = root / "dvc.lock"
    with changed(record, "schema", "<<<<<<< HEAD\nschema"):
        assert refused(root, TABLE) == "dvc.lock is damaged; restore it (git checkout dvc.lock)"
    with changed(record, record.read_bytes(), "stages: {}"):
        assert refused(root, TABLE).startswith(f"{TABLE}: dvc.lock has no record of report, which makes it")
    text = record.read_bytes()
    record.unlink()
    assert refused(root, TABLE) == "dvc.lock is missing, so nothing tells what made what; run dvc repro"
    record.write_bytes(text)


def test_without_git_nothing_can_be_compared(root):
    assert refused(root, TABLE, "--diff", "HEAD").startswith("git does not have this project, or is missing; --diff")
    assert audit_json(root, TABLE)["commit"] == dict.fromkeys(("head", "artifact", "record", "changed"))


def stopped(root: Path, path: str, content: str | None) -> str:
    """What the stage report says to a file that is damaged, or missing."""
    kept = (root / path).read_bytes()
    (root / path).unlink() if content is None else (root / path).write_text(content)
    done = run_stage(root, "report")
    (root / path).write_bytes(kept)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


def test_an_environment_that_is_damaged_stops_the_report(root):
    line = stopped(root, "environments/roar/all.json", "{")
    assert line == "report: error: environments/roar/all.json is damaged; run dvc repro"


def test_maps_without_scores_stop_the_report(root):
    line = stopped(root, "scores/all/distill/pairs/half/sswa/sswa/seed-0/epoch-02.safetensors", None)
    assert line == "report: error: there are maps of half and no scores; run the stage evaluate first"


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def history(finished_by_dvc, tmp_path_factory):
    """A repository of three commits: without a record, a run, and a run with another parameter of its last stage."""
    copy = tmp_path_factory.mktemp("history") / "project"
    shutil.copytree(finished_by_dvc, copy, ignore=shutil.ignore_patterns(".resume"))
    git(copy, "init", "-q")
    git(copy, "add", "dvc.yaml", "params.yaml", ".gitignore")
    git(copy, "commit", "-qm", "no run")
    git(copy, "add", ".")
    git(copy, "commit", "-qm", "a run")
    write_parameters(copy, BY_TWOS | {"report.minimum_pairs": 0})
    done = dvc(copy, "repro")
    assert done.returncode == 0, done.stderr
    git(copy, "commit", "-qam", "another run")
    return copy


def test_two_commits_differ_by_a_parameter_and_the_numbers_that_it_moved(history):
    path = "reports/tables/compressions_own.csv"
    diff = audit_json(history, path.replace(".csv", ".md"), "--diff", "HEAD~1")["diff"]
    causes = {(c["where"], c["kind"], c["what"], c["before"], c["after"]) for c in diff if c["kind"] == "parameter"}
    assert causes == {(name, "parameter", "report.minimum_pairs", 100, 0) for name in ("check", "report")}
    assert {c["what"] for c in diff if c["kind"] == "data"} <= {"reports/tables", "reports/index.html", "reports/page"}
    assert {c["kind"] for c in diff} == {"parameter", "data", "number"}
    texts = git(history, "show", f"HEAD~1:{path}"), (history / path).read_text()
    then, now = (pd.read_csv(io.StringIO(text), dtype=str).fillna("(none)") for text in texts)
    assert then["name"].tolist() == now["name"].tolist()
    # A column without any score is left out.
    absent = pd.Series(["(none)"] * len(now))
    unlike = [
        (old, new)
        for column in then.columns.union(now.columns)
        for old, new in zip(then.get(column, absent), now.get(column, absent), strict=True)
        if old != new
    ]
    assert unlike
    assert sorted((c["before"], c["after"]) for c in diff if c["kind"] == "number") == sorted(unlike)
    # Another table shows other pairs: the same cause, and nothing that moved.
    text = audit(history, TABLE, "--diff", "HEAD~1").stdout.splitlines()
    assert text[0] == "what differs from HEAD~1 (then -> now)"
    assert "  parameter report.minimum_pairs: 100 -> 0" in text
    assert text[-1] == "0 numbers moved"


def test_nothing_differs_from_the_commit_that_is_checked_out(history):
    assert audit(history, TABLE, "--diff", "HEAD").stdout.startswith("nothing that made it differs from HEAD, and no")
    # A network does not come from what the commits differ in, but for the check of all parameters.
    diff = audit_json(history, NETWORK, "--diff", "HEAD~1")["diff"]
    assert {(c["where"], c["what"]) for c in diff} == {("check", "report.minimum_pairs")}


def test_an_instance_that_the_graph_has_lost_is_told(history):
    with changed(history / "params.yaml", "  - variants\n  - share\n", "  - variants\n"):
        diff = audit_json(history, TABLE, "--diff", "HEAD")["diff"]
    (gone,) = [c for c in diff if c["kind"] == "instance"]
    assert (gone["where"], gone["before"], gone["after"]) == ("prune_channels@rate_70-share-all", "there", "(none)")


def test_the_commits_of_a_table_are_told(history):
    last, run, _ = git(history, "log", "--format=%H").splitlines()
    commit = audit_json(history, "reports/tables/compressions_own.csv")["commit"]
    assert commit == {"head": last, "artifact": last, "record": last, "changed": False}
    assert audit_json(history, "reports/metrics.json")["commit"]["artifact"] == run
    assert audit_json(history, NETWORK)["commit"]["artifact"] is None
    with changed(history / "reports/metrics.json", "{", "{ "):
        assert "changed since (uncommitted)" in audit(history, "reports/metrics.json").stdout


def test_a_commit_that_cannot_be_compared_is_one_line(history):
    assert refused(history, TABLE, "--diff", "nothing") == "git knows no revision nothing; git log lists them"
    assert refused(history, TABLE, "--diff", "") == "git knows no revision ; git log lists them"
    assert refused(history, TABLE, "--diff", "HEAD~2") == "HEAD~2 has no dvc.lock; take a commit of a run"
    with changed(history / "reports/metrics.json", "{", ""):
        message = refused(history, "reports/metrics.json", "--diff", "HEAD~1")
    assert message == "reports/metrics.json is no JSON, here or in HEAD~1; restore it"


def test_a_commit_between_a_new_graph_and_its_run_is_refused(history):
    branch = git(history, "rev-parse", "--abbrev-ref", "HEAD").strip()
    git(history, "checkout", "-q", "-b", "between")
    try:
        lock = read_yaml(history / "dvc.lock")
        lock["stages"]["tables"] = lock["stages"].pop("report")  # as a stage that has got another name since
        (history / "dvc.lock").write_text(format_yaml(lock))
        git(history, "commit", "-q", "-am", "between")
    finally:
        git(history, "checkout", "-q", branch)
    message = refused(history, TABLE, "--diff", "between")
    assert (
        message == f"dvc.lock of between has no record of report, which makes {TABLE} there; take the commit of a run"
    )


def test_a_project_inside_another_repository_has_no_commit_of_it(root):
    outer = root.parent
    git(outer, "init", "-q")
    git(outer, "commit", "-q", "--allow-empty", "-m", "another project")
    assert audit_json(root, TABLE)["commit"]["head"] is None
    shutil.rmtree(outer / ".git")


def test_the_committed_tables_are_what_the_committed_record_says(monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(verification, "dvc_md5", functools.cache(verification.dvc_md5))
    record = read_record(Path("dvc.lock").read_text(), manifest=lambda path: Path(path).read_text())
    stages = every_instance()
    tables = sorted(Path("reports/tables").iterdir())
    assert len(tables) > 40
    traces = {str(path): trace(record, stages, str(path)) for path in tables}
    # What tables share, the instances behind them, is compared once; each one's own fingerprint for each.
    shared = {(tuple(traced.entries), tuple(traced.missing)): traced for traced in traces.values()}
    assert [list(differences(traced, stages)) for traced in shared.values()] == [[]] * len(shared)
    footers = {path: list(verification._of_footer(traced, Path())) for path, traced in traces.items()}
    assert {path: lines for path, lines in footers.items() if lines} == {}


def test_the_audit_needs_no_dvc_and_no_torch(root):
    loaded = "import sys, stages.audit; print([name for name in ('dvc', 'torch', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
