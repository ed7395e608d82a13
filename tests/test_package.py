"""The installed library is whole and asks for what it imports, no more: DVC and the stages stay behind."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT

LIBRARY = PROJECT / "attribution_preservation"
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Only where the name that is imported is not the distribution's.
DISTRIBUTIONS = {"ruamel": "ruamel.yaml", "PIL": "pillow", "sklearn": "scikit-learn", "vl_convert": "vl-convert-python"}
# Who calls these needs more than is imported here.
CALLED = {"to_markdown": {"tabulate"}, "onnx.export": {"onnx", "onnxscript"}}
EXTRAS = {"cluster": LIBRARY / "pipeline" / "cluster", "onnx": LIBRARY / "deployment"}


def needed(source):
    """Distributions that a module needs: what it imports, wherever the import stands, and what its calls import."""
    distributions = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        elif isinstance(node, ast.Call):
            called = [needs for end, needs in CALLED.items() if ast.unparse(node.func).endswith(f".{end}")]
            distributions = distributions.union(*called)
        tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {LIBRARY.name}
        distributions |= {DISTRIBUTIONS.get(top, top) for top in tops}
    return {canonicalize_name(name) for name in distributions}


def needed_below(folder, without=()):
    files = [path for path in folder.rglob("*.py") if not any(path.is_relative_to(other) for other in without)]
    return set().union(*(needed(path.read_text(encoding="utf-8")) for path in files))


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def pins():
    text = "".join((PROJECT / f"requirements{end}.txt").read_text() for end in ("", "-cluster", "-dev"))
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", text, re.M)
    }


def test_an_import_is_found_wherever_it_stands():
    source = "import os, ruamel.yaml\ndef f(table):\n    from PIL import Image\n    return table.to_markdown()\n"
    assert needed(source) == {"ruamel-yaml", "pillow", "tabulate"}
    assert needed("from attribution_preservation.data import voc\nimport torch.onnx\n") == {"torch"}


def test_the_library_depends_on_what_it_imports():
    declared = names(METADATA["dependencies"])
    assert declared == needed_below(LIBRARY, EXTRAS.values()) | needed_below(EXTRAS["onnx"]) - {"onnx", "onnxscript"}
    assert not any(name.startswith("dvc") for name in declared)


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_what_its_part_of_the_library_needs_besides(extra):
    assert METADATA["optional-dependencies"].keys() == EXTRAS.keys()
    besides = needed_below(EXTRAS[extra]) - names(METADATA["dependencies"])
    assert names(METADATA["optional-dependencies"][extra]) == besides


@pytest.mark.parametrize("folder", EXTRAS.values(), ids=EXTRAS)
def test_no_other_part_of_the_library_imports_one_that_needs_an_extra(folder):
    module = ".".join(folder.relative_to(PROJECT).parts)
    for path in LIBRARY.rglob("*.py"):
        assert path.is_relative_to(folder) or module not in path.read_text(encoding="utf-8"), path


def test_every_requirement_is_a_lower_bound_that_the_tested_version_keeps():
    tested = pins()
    for line in sum(METADATA["optional-dependencies"].values(), METADATA["dependencies"]):
        requirement = Requirement(line)
        assert [bound.operator for bound in requirement.specifier] == [">="], line
        assert tested[canonicalize_name(requirement.name)] in requirement.specifier, line


@pytest.mark.parametrize(
    ("python", "zennit"), [("3.11.0", "0.5.1"), ("3.11.10", "0.5.1"), ("3.11.11", "1.0.0"), ("3.12.1", "1.0.0")]
)
def test_every_python_has_one_pin_of_each_package(python, zennit):
    lines = "".join((PROJECT / f"requirements{end}.txt").read_text() for end in ("", "-cluster", "-dev")).splitlines()
    pinned = [Requirement(line) for line in lines if "==" in line]
    here = [pin for pin in pinned if not pin.marker or pin.marker.evaluate({"python_full_version": python})]
    assert sorted({pin.name for pin in pinned}) == sorted(pin.name for pin in here)
    assert [str(pin.specifier) for pin in here if pin.name == "zennit"] == [f"=={zennit}"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, made by the backend itself: nothing is fetched."""
    root = tmp_path_factory.mktemp("source") / "project"
    for folder in ("attribution_preservation", "stages", "tests", "benchmarks"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(PROJECT / name, root / name)
    build = "import setuptools.build_meta as backend; backend.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (root / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_library_and_nothing_else(wheel):
    files = {path.relative_to(PROJECT).as_posix() for path in LIBRARY.rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    assert "attribution_preservation/reporting/page/assets/app.js" in files
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files


def test_the_wheel_says_what_it_needs(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == METADATA["version"]
    always = {line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert names(always) == names(METADATA["dependencies"])
