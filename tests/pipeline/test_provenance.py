"""What made what, as dvc.lock says it: hashes, records, traces, environments, and what differs between two of them."""

import hashlib
import importlib.metadata
import json
import platform
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.provenance.compare import changes, flat, moved
from attribution_preservation.pipeline.provenance.environments import summarized
from attribution_preservation.pipeline.provenance.fingerprint import fingerprint
from attribution_preservation.pipeline.provenance.hashes import dvc_md5, ignored_names
from attribution_preservation.pipeline.provenance.made_with import SUMMARY, environments_of
from attribution_preservation.pipeline.provenance.record import Entry, read_record
from attribution_preservation.pipeline.provenance.trace import of_row, trace
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.environment import LIBRARIES, environment
from attribution_preservation.storage.files import write_json
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from tests.conftest import PROJECT

HERE = {"python": "3.11.7", "libraries": {"torch": "2.1"}, "device": "x86_64 CPU, AVX2", "cuda": None}
THERE = HERE | {"device": "A card", "cuda": "12.8"}


def stages(*declared: tuple[str, list[str]]) -> dict[str, Stage]:
    """Instances by name, each with the outs that dvc.yaml declares."""
    instances = [Stage(name.partition("@")[0], {}, {"cmd": "unused", "outs": outs}, {}) for name, outs in declared]
    return {name: stage for (name, _), stage in zip(declared, instances, strict=True)}


GRAPH = stages(("make", ["data"]), ("train@a", ["models/a"]), ("train@b", ["models/b"]), ("report", ["tables"]))
RECORD = {
    "make": Entry(
        "make",
        "make",
        {"data.seed": 0},
        {"data/code/make.txt": "a"},
        {"data": "2.dir"},
        modules={"stages/make.py": "1"},
    ),
    "train@a": Entry("train@a", "train a", {}, {"data": "2.dir"}, {"models/a": "3"}),
    "train@b": Entry("train@b", "train b", {}, {"data": "2.dir"}, {"models/b": "4"}),
    "report": Entry("report", "report", {}, {"models": "5.dir"}, {"tables": "6.dir"}),
}


def test_hashes_are_those_that_dvc_recorded(finished_by_dvc, tmp_path):
    ignored = ignored_names(finished_by_dvc)
    lock = read_yaml(finished_by_dvc / "dvc.lock")
    recorded = {
        file["path"]: file["md5"]
        for entry in lock["stages"].values()
        for file in [*entry.get("deps", []), *entry.get("outs", [])]
    }
    assert {"data/dataset", "models/all", "reports/results.csv", "data/code/report.txt"} <= set(recorded)
    assert {path: dvc_md5(finished_by_dvc / path, ignored) for path in recorded} == recorded
    # Byte-compiled modules may lie in the folders of code, and DVC does not see them.
    code = "attribution_preservation"
    shutil.copytree(finished_by_dvc / code, tmp_path / code)
    (tmp_path / code / "data" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / code / "data" / "__pycache__" / "voc.cpython-311.pyc").write_bytes(b"bytes")
    assert dvc_md5(tmp_path / code, ignored) == recorded[code]


def test_a_folder_is_its_files_and_their_names(tmp_path):
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a").write_bytes(b"1")
    (folder / "b").write_bytes(b"2")
    one, two = (hashlib.md5(content).hexdigest() for content in (b"1", b"2"))
    listing = f'[{{"md5": "{two}", "relpath": "b"}}, {{"md5": "{one}", "relpath": "below/a"}}]'
    expected = hashlib.md5(listing.encode()).hexdigest() + ".dir"
    (folder / "empty").mkdir()
    assert dvc_md5(folder, frozenset()) == expected
    (tmp_path / ".dvcignore").write_text("# caches\n__pycache__/\n\ndata/raw\n")
    (folder / "below" / "__pycache__").mkdir()
    (folder / "below" / "__pycache__" / "a.pyc").write_bytes(b"3")
    assert ignored_names(tmp_path) == {"__pycache__", "data/raw"}
    assert dvc_md5(folder, ignored_names(tmp_path)) == expected
    assert dvc_md5(folder, frozenset()) != expected
    (folder / "b").rename(folder / "c")
    assert dvc_md5(folder, ignored_names(tmp_path)) != expected


def test_a_fingerprint_is_of_command_parameters_and_inputs_in_any_order():
    made = fingerprint("run", {"a": 1, "b": [2]}, {"x": "1", "y": "2"})
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert fingerprint("run", {"b": [2], "a": 1}, {"y": "2", "x": "1"}) == made
    others = [
        fingerprint("run it", {"a": 1, "b": [2]}, {"x": "1", "y": "2"}),
        fingerprint("run", {"a": 1, "b": [3]}, {"x": "1", "y": "2"}),
        fingerprint("run", {"a": 1, "b": [2]}, {"x": "1", "y": "3"}),
        fingerprint("run", {"a": 1, "b": [2], "c": None}, {"x": "1", "y": "2"}),
    ]
    assert len({made, *others}) == 5


@pytest.mark.parametrize(
    "text",
    [
        "", "stages", "stages: [a]", "stages: {a: 1}", "stages: {a: {}}", "stages: {a: {cmd: b, deps: [{path: c}]}}",
        "stages: {a: {cmd: b, params: [c]}}", "stages:\n  a: {cmd: b\n<<<<<<< HEAD\n", "\0",
        "stages: {a: {cmd: b, outs: 1}}",
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused(text):
    with pytest.raises(UserError, match=r"dvc\.lock is damaged; restore it"):
        read_record(text)


def test_a_path_that_is_listed_twice_keeps_both_hashes():
    files = [{"path": "maps/all/teacher", "md5": "1"}, {"path": "scores", "md5": "3"}, {"path": "maps/all/teacher"}]
    for second, others in (("1", ()), ("2", (("maps/all/teacher", "1"),))):
        files[2]["md5"] = second
        entry = read_record(format_yaml({"stages": {"a": {"cmd": "a", "deps": files}}}))["a"]
        assert entry.deps == {"maps/all/teacher": second, "scores": "3"}
        assert entry.others == others


def test_a_trace_goes_through_folders_and_keeps_to_the_graph():
    # An instance that the graph has no more, and whose output once lay in the folder that is read.
    gone = {"train@c": Entry("train@c", "train c", {}, {}, {"models/c": "7"})}
    traced = trace(RECORD | gone, GRAPH, "tables/first.md")
    assert traced.makers == ["report"]
    assert traced.upstream == {
        "report": ["train@b", "train@a"], "train@a": ["make"], "train@b": ["make"], "make": [],
    }  # fmt: skip
    assert list(traced.entries) == ["report", "train@b", "train@a", "make"]  # each before what it was made from
    assert traced.missing == []
    assert set(trace(RECORD, GRAPH, "models/a/network").entries) == {"train@a", "make"}
    assert trace(RECORD, GRAPH, "models").makers == ["train@a", "train@b"]
    with pytest.raises(UserError, match=r"no stage of dvc\.yaml makes it"):
        trace(RECORD, GRAPH, "models/c/network")
    with pytest.raises(UserError, match=r"dvc\.lock has no record of make, which makes it"):
        trace({}, GRAPH, "data")


def test_a_maker_that_the_record_lacks_is_told():
    lacking = {name: entry for name, entry in RECORD.items() if name != "train@a"}
    assert trace(lacking, GRAPH, "tables").missing == ["train@a"]
    assert trace(lacking, GRAPH, "models/b").missing == []


def test_a_row_comes_from_its_seed_and_student_alone():
    axes = [
        ("dataset", {}), *(("teacher", {"network": network, "group": group})
                           for network, group in (("vgg", "first"), ("vgg", "rest"), ("resnet", "rest"))),
        *(("distill", {"student": student, "matching": matching, "group": group})
          for student in ("half", "third") for matching in ("paper", "abs") for group in ("first", "rest")),
        ("prune_weights", {"student": "half", "matching": "paper", "group": "rest"}),
        *((name, {"batch": batch, "group": "rest"}) for name in ("attribute", "evaluate") for batch in ("t", "d", "p")),
        ("probe", {"group": "rest"}), ("analysis", {}),
    ]  # fmt: skip
    graph = [Stage(name, of, {}, {}) for name, of in axes]
    row = {
        "compression": "distill", "teacher": "vgg", "method": "swa", "seed": 2, "student": "half", "population": "own",
        "metric": "roc_auc",
    }  # fmt: skip
    folders = {"teacher": "t", "distill": "d/below", "prune_weights": "p"}
    methods = {"paper": {"naive", "swa"}, "abs": {"swa_abs"}}

    def kept(**changes):
        keep = of_row(row | changes, {"first": [0], "rest": [1, 2]}, folders, methods, ["evaluate"])
        return {stage.instance for stage in graph if keep(stage)}

    alone = {
        "dataset", "teacher@vgg-rest", "distill@half-paper-rest", "attribute@t-rest", "attribute@d-rest",
        "evaluate@t-rest", "evaluate@d-rest",
    }  # fmt: skip
    assert kept() == alone
    assert kept(population="common") == alone | {"distill@half-abs-rest"}
    assert kept(method="swa_abs") == alone - {"distill@half-paper-rest"} | {"distill@half-abs-rest"}
    assert kept(seed=0) == {"dataset", "teacher@vgg-first", "distill@half-paper-first"}
    of_teacher = kept(compression="teacher", student=None, method=None)
    assert of_teacher == {"dataset", "teacher@vgg-rest", "attribute@t-rest", "evaluate@t-rest"}


def test_differences_between_records_are_told_once_each():
    made = {"data/code/make.txt": "b"}, {"data": "9.dir"}
    then = RECORD | {"make": Entry("make", "make", {"data.seed": 1}, *made, modules={"stages/make.py": "0"})}
    then["train@a"] = Entry("train@a", "train a", {}, {"data": "9.dir"}, {"models/a": "3"})
    then["train@c"] = then.pop("train@b")
    changed = {(c.where, c.kind, c.what, c.before, c.after) for c in changes(then, RECORD)}
    assert changed == {
        ("make", "parameter", "data.seed", 1, 0),
        ("make", "code", "stages/make.py", "0", "1"),
        ("make", "data", "data", "9.dir", "2.dir"),  # and not again where train@a read it
        ("train@b", "instance", "record", "(none)", "there"),
        ("train@c", "instance", "record", "there", "(none)"),
    }
    assert list(changes(RECORD, RECORD)) == []
    assert [c.what for c in changes({"a": Entry("a", "x")}, {"a": Entry("a", "y", {"b": {"c": {}}})})] == [
        "command", "b.c",
    ]  # fmt: skip


def test_versions_that_differ_are_told_by_name_where_both_are_known():
    entries = [Entry("a", "a", outs={"environments/a.json": md5}) for md5 in "12"]
    then, now = ({"a": entry} for entry in entries)
    changed = [(c.kind, c.what, c.before, c.after) for c in changes(then, now, {"a": HERE}, {"a": THERE})]
    assert changed == [
        ("environment", "device", "x86_64 CPU, AVX2", "A card"), ("environment", "cuda", None, "12.8"),
    ]  # fmt: skip
    (unknown,) = changes(then, now, {"a": None}, {"a": THERE})
    assert (unknown.kind, unknown.what, unknown.before, unknown.after) == (
        "environment", "environments/a.json", "1", "2",
    )  # fmt: skip


def test_mappings_are_told_by_their_leaves():
    assert flat({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}, "f": None}) == {
        "a.b": 1, "a.c.d": [1, 2], "e": {}, "f": None,
    }  # fmt: skip
    assert flat({}) == {}


CSV = "method,seed,epoch,n,mean\nnaive,0,1,30,0.5\nnaive,0,2,30,0.5\nswa,0,2,30,0.25\n"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (CSV, {}),
        (CSV.replace("0.25", "0.75"), {"swa, 0, 2: mean": ("0.25", "0.75")}),
        (CSV.replace("swa,0,2,30", "swa,0,2,29"), {"swa, 0, 2: n": ("30", "29")}),
        (CSV + "swa,1,2,30,\n", {"swa, 1, 2: n": ("(none)", "30")}),  # of another seed
        (CSV.replace("naive,0,1,30,0.5\n", ""),
         {"naive, 0, 1: n": ("30", "(none)"), "naive, 0, 1: mean": ("0.5", "(none)")}),
        (CSV.replace("30,0.25", "30,"), {"swa, 0, 2: mean": ("0.25", "(none)")}),
        # Rows in another order are the same rows, and one that says the same as another is told by its place.
        ("\n".join([CSV.splitlines()[0], *reversed(CSV.splitlines()[1:])]), {}),
        (CSV + "swa,0,2,30,0.5\n", {"swa, 0, 2 (2): n": ("(none)", "30"), "swa, 0, 2 (2): mean": ("(none)", "0.5")}),
        (CSV.replace("0.25", "broken,cells"), {"swa, 0, 2: n": ("30", "(none)"), "swa, 0, 2: mean": ("0.25", "(none)"),
                                               "swa, 0, 2, broken: n": ("(none)", "30")}),
    ],
)  # fmt: skip
def test_numbers_that_moved_in_a_table(after, expected):
    numbers = {c.what: (c.before, c.after) for c in moved("a.csv", CSV, after)}
    assert numbers == expected


def test_of_a_row_its_own_numbers_alone_are_told():
    after = CSV.replace("30,0.5", "20,0.75")
    assert len(list(moved("a.csv", CSV, after))) == 4
    assert [c.what for c in moved("a.csv", CSV, after, row=2)] == ["naive, 0, 2: n", "naive, 0, 2: mean"]
    assert list(moved("a.csv", CSV, after, row=3)) == []
    # A row that was not there.
    assert [c.before for c in moved("a.csv", CSV, after + "new,0,1,5,1\n", row=4)] == ["(none)", "(none)"]


def test_numbers_that_moved_in_json():
    then = '{"a": {"mean": 1, "n": 30}, "b": {"mean": NaN}, "name": "x", "list": [1]}'
    now = '{"a": {"mean": 1.5, "n": 29}, "b": {"mean": NaN}, "name": "y", "list": [2], "c": {"mean": 0}}'
    assert {c.what: (c.before, c.after) for c in moved("a.json", then, now)} == {
        "a.mean": (1, 1.5), "a.n": (30, 29), "c.mean": ("(none)", 0),
    }  # fmt: skip
    with pytest.raises(ValueError, match="Expecting"):
        list(moved("a.json", then, "{"))


def test_an_environment_is_versions_and_a_device_and_nothing_of_the_day_or_the_machine():
    description = environment()
    assert set(description) == {"python", "libraries", "device", "cuda"}
    assert description["python"] == ".".join(map(str, sys.version_info[:3]))
    assert description["libraries"]["torch"] == importlib.metadata.version("torch")
    assert all(version == importlib.metadata.version(name) for name, version in description["libraries"].items())
    if not torch.cuda.is_initialized():
        assert description["device"] == f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"
        assert description["cuda"] is None
    text = json.dumps(description)
    assert not platform.node() or platform.node() not in text
    assert not re.search(r"/|\\|20\d\d-\d\d|\d\d:\d\d", text)
    assert environment() == description


def test_an_environment_names_libraries_that_the_project_pins():
    pinned = re.findall(r"^([\w-]+)==", (PROJECT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(LIBRARIES.values()) <= set(pinned)


@pytest.fixture
def computed(tmp_path):
    """Instances of which two computed on one machine, one on another, and one computed nothing; with the summary."""
    machines = {"a": HERE, "b": HERE, "c": THERE}
    for name, machine in machines.items():
        write_json(tmp_path / "environments" / f"{name}.json", machine)
    write_json(tmp_path / SUMMARY, summarized(machines | {"report": HERE}))
    outs = {name: f"environments/{name}.json" for name in machines} | {"report": SUMMARY}
    entries = {
        name: Entry(name, name, outs={"x": "1", out: hashlib.md5((tmp_path / out).read_bytes()).hexdigest()})
        for name, out in outs.items()
    }
    return tmp_path, entries | {"check": Entry("check", "check", outs={"data/check.txt": "1"})}


def test_every_environment_stands_once_in_the_summary():
    assert summarized({"c": THERE, "b": HERE, "a": HERE}) == [
        {"environment": HERE, "instances": ["a", "b"]},
        {"environment": THERE, "instances": ["c"]},
    ]


def test_environments_come_from_files_or_else_from_the_summary(computed):
    root, entries = computed
    expected = {"a": HERE, "b": HERE, "c": THERE, "report": HERE, "check": None}
    summary = (root / SUMMARY).read_text()
    assert environments_of(entries, summary, root) == expected
    assert environments_of(entries, None, root) == expected | {"report": None}
    assert environments_of(entries, summary, root / "elsewhere") == expected
    assert environments_of(entries, None, root / "elsewhere") == dict.fromkeys(entries)


def test_what_tells_another_environment_than_the_record_is_not_believed(computed):
    root, entries = computed
    summary = (root / SUMMARY).read_text()
    edited = summary.replace("A card", "Another")
    (root / "environments" / "c.json").write_text(json.dumps(THERE))  # of another run
    assert environments_of(entries, summary, root)["c"] == THERE  # the summary is still right
    environments = environments_of(entries, edited, root)
    assert (environments["a"], environments["c"], environments["report"]) == (HERE, None, None)


@pytest.mark.parametrize("summary", ["", "{", "[1]", "3", '{"a": 1}', '[{"instances": ["a"]}]'])
def test_a_damaged_summary_tells_nothing(computed, summary):
    assert environments_of(computed[1], summary, Path("nowhere")) == dict.fromkeys(computed[1])
