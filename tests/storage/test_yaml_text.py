"""One reader and one writer of YAML, which agree with DVC about every value and its type."""

import ast
import datetime
import math
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml, modify_yaml, parse_yaml_for_update
from dvc.utils.serialize._yaml import dumps_yaml, loads_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.pipeline.provenance.fingerprint import fingerprint_of
from attribution_preservation.pipeline.provenance.record import read_record
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import (
    changed_by_dvc,
    format_yaml,
    format_yaml_line,
    parse_yaml,
    read_yaml,
)
from tests.conftest import PROJECT, TINY, dvc, run_stage, write_parameters

# What the text of a scalar means by YAML 1.2, https://yaml.org/spec/1.2.2, chapter 10.3, and the types that DVC adds.
SCALARS = {
    "5e-05": 5e-05, "1e-5": 1e-5, "1E5": 1e5, "1e+5": 1e5, "+1e5": 1e5, "-2E+2": -200.0, "1.5E-07": 1.5e-7, ".5": 0.5,
    "-.5": -0.5, "5.": 5.0, "0.00005": 5e-05, "1e16": 1e16, "1e22": 1e22, "100000000.0": 1e8, "1.0": 1.0, "-0.0": -0.0,
    "1": 1, "-0": 0, "+5": 5, "017": 17, "08": 8, "0o17": 15, "0x1F": 31, "1_000": 1000, "1_000.5": 1000.5,
    ".inf": math.inf, "-.inf": -math.inf, "true": True, "False": False, "null": None, "~": None, "": None,
    "yes": "yes", "no": "no", "on": "on", "off": "off", "y": "y", "N": "N", "1:30": "1:30",
    "190:20:30.15": "190:20:30.15", "1e": "1e", "e5": "e5", "1.2.3": "1.2.3", "inf": "inf", "nan": "nan",
    "'5e-05'": "5e-05", '"1"': "1",
    "2024-01-01": datetime.date(2024, 1, 1), "2024-1-1": "2024-1-1",
}  # fmt: skip


def same(one, other) -> bool:
    """Whether two values are equal, their types, signs of zero and order of keys included."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar_is_what_yaml_1_2_says(text):
    document = f"a: {text}\nb: [{text or 'null'}]\n"
    value = parse_yaml(document)
    assert same(value, {"a": SCALARS[text], "b": [SCALARS[text]]})
    assert same(value, loads_yaml(document))


def test_what_is_no_number_is_read():
    assert math.isnan(parse_yaml(".nan"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: 1e-5}\nc: *x\n", {"a": {"b": 1e-5}, "c": {"b": 1e-5}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("on: 1\nno: 2\ny: 3\n", {"on": 1, "no": 2, "y": 3}),
        ("1: a\n1.5: b\n", {1: "a", 1.5: "b"}),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("a: 'é 一'\n", {"a": "é 一"}),
        ("", None),
        ("# nothing\n", None),
        ("--- \na: 1\n...\n", {"a": 1}),
    ],
)
def test_a_document_is_what_yaml_1_2_says(text, value):
    assert same(parse_yaml(text), value)
    assert parse_yaml(text) == loads_yaml(text)


@pytest.mark.parametrize("change", [
    lambda text: text.replace("\n", "\r\n"),
    lambda text: "\ufeff" + text,
    lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    lambda text: text.rstrip("\n"),
], ids=["CRLF", "byte order mark", "both", "no last line end"])  # fmt: skip
@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path, name, change):
    text = (PROJECT / name).read_text(encoding="utf-8")
    path = tmp_path / name
    path.write_bytes(change(text).encode())
    assert same(read_yaml(path), parse_yaml(text))
    assert same(read_yaml(path), load_yaml(path))


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40))

MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"report: {a: 1}\nroar: 2\nreport: {a: 3}\n", r'line 3, column 1: .*duplicate key "report"$'),
        (b"a: 1e-5\na: 1e-5\n", r'line 2, column 1: .*duplicate key "a"$'),
        (b"a: !!python/object/apply:os.system ['true']\n", r"line 1, column 4: could not determine a constructor"),
        (b"a: !!python/name:os.system\n", "could not determine a constructor"),
        (b"a: !ours 1\n", "could not determine a constructor"),
        (b"a: =\n", "could not determine a constructor"),
        (b"a: !!bool 1\n", "a tag does not fit its value"),
        (b"a: !!int _\n", "a tag does not fit its value"),
        (b"a: !!float x\n", "could not convert string to float"),
        (b"a: !!set {b}\n", "a value of type set"),
        (b"a: !!binary aGk=\n", "a value of type bytes"),
        (b"? [a]\n: 1\n", "a value of type tuple"),
        (b"{a: 1}: 2\n", "unhashable key"),
        (b"a: 2026-13-45\n", "month must be in 1..12"),
        (b"a: " + b"9" * 5_000, "4300 digits"),
        (b"a: 0x" + b"f" * 5_000, "more than 1024 bits"),
        (b'a: "\\ud800"\n', "surrogates not allowed"),
        (ALIASES.encode(), "aliases stand for more than 1000000 values"),
        (b"a: &x [*x]\n", "an alias stands for a list or mapping that holds it"),
        (b"a: &x {b: {c: *x}}\n", "an alias stands for a list or mapping that holds it"),
        (b"a: *x\n", "undefined alias"),
        (b"a: " + b"[" * 100_000, "too many lists or mappings in one another"),
        (b"{a: " * 100_000, "too many lists or mappings in one another"),
        (b"- " * 10_000, "too many lists or mappings in one another"),
        (MERGES.encode(), "merges more than 10000 keys"),
        (b"a: {b: 1\n", "line 2, column 1: "),
        (b"a:\n\t- 1\n", "line 2, column 1: "),
        (b"a: 1\n---\nb: 2\n", "another document"),
        (b"a: \x00\n", "special characters are not allowed"),
        (b"a: \x1b[2J\n", "special characters are not allowed"),
        ("a: 1\n".encode("utf-16"), "codec can't decode"),
        ("a: é\n".encode("latin-1"), "codec can't decode"),
    ],
)  # fmt: skip
def test_what_is_no_plain_value_is_refused_in_a_line(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"params\.yaml is not readable as YAML: .*{message}") as refused:
        read_yaml(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_document_that_is_read_again_is_as_it_was():
    text = "a: &a [1, 2]\nb: *a\n"
    first = parse_yaml(text)
    assert first["a"] is first["b"]
    first["a"].append(3)
    assert parse_yaml(text) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("content", ["", "# nothing\n", "[]", "- a: 1\n", "3", "word", "~", "2024-01-01"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(UserError, match=r"params\.yaml does not hold a mapping; compare with the files in params/"):
        read_yaml(tmp_path / "params.yaml")


def test_a_long_document_without_aliases_is_no_bomb():
    assert len(parse_yaml("\n".join(["- [0, 0]"] * 2_000))) == 2_000


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=100)
LOOKS_LIKE_MORE = st.text("0123456789eE+-._:~<=yno#'\" ,[]{}&*!|>%@`?\n\t", max_size=8)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | LOOKS_LIKE_MORE,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(WORDS, values, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_what_dvc_writes_is_read_as_it_was_and_what_we_write_is_what_dvc_writes(value):
    text = format_yaml(value)
    assert text == dumps_yaml(value)
    assert same(parse_yaml(text), value)
    assert same(loads_yaml(text), value)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (5e-05, "5e-05"), (1.0, "1.0"), (1, "1"), (None, "null"), (True, "true"), ("naive", "naive"),
        ("5e-05", "'5e-05'"),
        ([4, None], "[4, null]"), ({}, "{}"), ("a\nb", r'"a\nb"'), ("on", "on"), ("(none)", "(none)"),
        ({"temperature": 4.0, "rate": 1e-05, "at": {"b": [], "a": "1"}},
         "{temperature: 4.0, rate: 1e-05, at: {b: [], a: '1'}}"),
        (["x" * 60] * 3, f"[{', '.join(['x' * 60] * 3)}]"),
    ],
)  # fmt: skip
def test_a_value_in_a_line_is_read_back_by_dvc(value, line):
    assert format_yaml_line(value) == line
    assert same(loads_yaml(line), value)


@pytest.mark.parametrize("path", sorted((PROJECT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_stays_what_it_is_when_dvc_rewrites_it(tmp_path, path):
    before = read_yaml(path)
    copy = tmp_path / "params.yaml"
    copy.write_bytes(path.read_bytes())
    with modify_yaml(copy):  # as `dvc exp run --set-param` does
        pass
    assert same(read_yaml(copy), before)
    assert changed_by_dvc(before) is None


@settings(max_examples=100, deadline=None)
@given(NUMBERS | WORDS)
def test_what_dvc_would_change_in_its_record_is_noticed(value):
    record = dumps_yaml({"values": [1, {"value": value}]})
    after = loads_yaml(dumps_yaml(parse_yaml_for_update(record, "dvc.lock")))["values"][1]["value"]
    expected = None if same(after, value) else ("values.1.value", value, after)
    assert same(changed_by_dvc({"values": [1, {"value": value}]}), expected)


def test_a_number_that_dvc_would_round_is_refused_before_any_work(project):
    rate = "teacher.optimization.learning_rate"
    write_parameters(project, TINY | {rate: 3.07698456428071e-06})
    done = run_stage(project, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"check: error: params.yaml: {rate} is 3.07698456428071e-06, and dvc.lock would keep 3.0769845642807e-06; "
        "write fewer digits or letters\n"
    )
    write_parameters(project, TINY | {rate: 3.076984564e-06})
    assert run_stage(project, "check").returncode == 0


@pytest.mark.parametrize("text", ["0.00001", "1e-5", "1E-5", "1e-05", "0.1e-4", ".00001", "+1e-5", "0.000_01"])
def test_every_way_to_write_a_small_number_fits_the_schema(project, text):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("weight_decay: 5e-05", f"weight_decay: {text}"))
    assert validate(Profile, read_yaml(path)).teacher.optimization.weight_decay == 0.00001


TOY = """
stages:
  report:
    cmd: "true"
    params: [values, other]
    deps: [made]
  first:
    cmd: echo ${counter} > made
    params: [counter]
    outs: [made]
"""
VALUES_OF_EVERY_KIND = """
counter: 1
other: 0.00005
values:
  floats: [5e-05, 1e-5, 0.00001, 1E5, .5, 1.0, 1e16, 1e22, 0.1, 100000000.0, -0.0, 0.30000000000000004, 1_000.5]
  whole: [0, -1, 0o17, 0x1F, 017, 1_000, 12345678901234567890]
  words: ['5e-05', "1", yes, no, on, 1:30, é, '', ' a', "a\\nb", '~', 2024-1-1, null, true, ~]
  nested: {b: {c: [1, [2.0, {}], []]}, a: 1e-7}
  shared: &shared [1e-5]
  again: *shared
"""


def test_a_stage_and_the_record_have_the_same_fingerprint_of_every_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(TOY)
    Path("params.yaml").write_text(VALUES_OF_EVERY_KIND)
    for arguments in (("init", "-q", "--no-scm"), ("repro",)):
        done = dvc(tmp_path, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def fingerprints():
        (stage,) = instances("report")
        record = read_record(Path("dvc.lock").read_text())
        assert same(record["report"].parameters, dict(sorted(stage.declared_values().items())))
        return fingerprint_of(stage), record["report"].fingerprint

    first, recorded = fingerprints()
    assert first == recorded
    # DVC rewrites what it has recorded of one stage when another one runs.
    path = Path("params.yaml")
    path.write_text(VALUES_OF_EVERY_KIND.replace("counter: 1", "counter: 2"))
    assert dvc(tmp_path, "repro", "first").returncode == 0
    path.write_text(path.read_text().replace("1e-5, 0.00001", "0.00001, 1e-05"))
    record = read_record(Path("dvc.lock").read_text())["report"]
    (stage,) = instances("report")
    assert same(record.parameters, dict(sorted(stage.declared_values().items())))
    assert dvc(tmp_path, "repro").returncode == 0
    second, recorded = fingerprints()
    assert second == recorded != first


def yaml_imports(folder: Path) -> set[str]:
    """Files that import a library for YAML, from the project's root."""
    files = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("yaml", "ruamel") for name in names):
                files.add(path.relative_to(PROJECT).as_posix())
    return files


def test_there_is_one_reader():
    of_library = {"attribution_preservation/storage/yaml_text.py"}
    folders = {"attribution_preservation": of_library, "stages": set(), "benchmarks": set(), "tests": set()}
    assert {folder: yaml_imports(PROJECT / folder) for folder in folders} == folders


def test_the_reader_needs_no_dvc():
    loaded = "import sys, attribution_preservation.storage.yaml_text; print({'dvc', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
