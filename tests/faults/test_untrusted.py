"""What comes from elsewhere is data: nothing of it is run, and whatever it holds is taken or refused in a line."""

import ast
import pickle
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from attribution_preservation.data.voc import VOC_CLASSES, VOID, VOCDirectory
from attribution_preservation.errors import UserError
from attribution_preservation.storage.tensors import read_tensors
from tests.conftest import PROJECT

RUNS = {"eval", "exec", "compile", "__import__"}
UNPICKLES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
# What of joblib starts processes of our own, and reads no file of anybody's.
PARALLEL = {"cpu_count"}
# What torch raises where it unpickles nothing; a class that runs nothing.
CAUGHT = "UnpicklingError"


def _is_pickle(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "pickle"


def dangers(source: str) -> set[str]:
    """What a piece of code does that could run what it reads."""
    dangerous, tree = set(), ast.parse(source)
    of_pickle = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_pickle(node.value)}
    for node in ast.walk(tree):
        alone = isinstance(node, ast.Import) and [alias.name for alias in node.names] == ["pickle"]
        if alone and of_pickle == {CAUGHT}:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            if getattr(node, "module", None) == "joblib" and names <= {"joblib", *PARALLEL}:
                continue
            dangerous |= {name for name in names if name.split(".")[0] in UNPICKLES}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            unsafe = (
                called in RUNS
                or (
                    called in ("torch.load", "torch.hub.load_state_dict_from_url")
                    and words.get("weights_only") != "True"
                )
                or called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle")
                or "unsafe" in words.get("typ", "")  # of ruamel.yaml
                or words.get("allow_pickle") == "True"
                or (called.startswith("subprocess.") and words.get("shell") == "True")
                or called == "os.system"
            )
            dangerous |= {called} if unsafe else set()
    return dangerous


@pytest.mark.parametrize("folder", ["stages", "attribution_preservation"])
def test_nothing_of_ours_is_unpickled_or_run(folder):
    for path in (PROJECT / folder).rglob("*.py"):
        assert dangers(path.read_text()) == set(), path


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle\nexcept_ = pickle.UnpicklingError\npickle.load(file)",
        "import pickle as p\np.UnpicklingError", "from pickle import load",
        "import joblib", "from joblib import Parallel, load",
        "torch.load(path)", "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)", "yaml.load(text, yaml.Loader)", "YAML(typ='unsafe')",
        "eval(text)", "os.system(text)",
    ],
)  # fmt: skip
def test_what_would_run_is_found(source):
    assert dangers(source)


def test_a_pickle_in_place_of_tensors_is_not_opened(tmp_path):
    class Fatal:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was here",)

    # Written by hand here, where nothing is read back.
    path = tmp_path / "network.safetensors"
    path.write_bytes(pickle.dumps(Fatal()))
    with pytest.raises(UserError, match=r"network\.safetensors is damaged"):
        read_tensors(path, "mend it")
    assert not (tmp_path / "was here").exists()


# Each example writes over the one before.
EXAMPLES = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from([*VOC_CLASSES, "unicorn", "", " dog ", "DOG"]) | st.text(
    string.printable + "\u00e9\u4e00", max_size=12
)


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


@EXAMPLES
@given(st.lists(WORDS, max_size=5))
def test_labels_are_those_of_the_annotation_or_it_is_refused(tmp_path, words):
    (tmp_path / "Annotations").mkdir(exist_ok=True)
    objects = "".join(f"<object><name>{escaped(word)}</name></object>" for word in words)
    (tmp_path / "Annotations" / "a.xml").write_text(f"<annotation>{objects}</annotation>", encoding="utf-8")
    directory = VOCDirectory(tmp_path, VOC_CLASSES)
    if words and all(word.strip() in VOC_CLASSES for word in words):
        assert directory.labels("a") == sorted({VOC_CLASSES.index(word.strip()) for word in words})
    else:
        with pytest.raises(UserError, match=r"a\.xml"):
            directory.labels("a")


@EXAMPLES
@given(st.binary(max_size=200))
def test_bytes_that_are_no_annotation_are_refused(tmp_path, content):
    (tmp_path / "Annotations").mkdir(exist_ok=True)
    (tmp_path / "Annotations" / "a.xml").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.xml"):
        VOCDirectory(tmp_path, VOC_CLASSES).labels("a")


@EXAMPLES
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 20, 21, 255])))
def test_a_mask_comes_back_as_it_is_or_is_refused(tmp_path, mask):
    (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
    Image.fromarray(mask).save(tmp_path / "SegmentationClass" / "a.png")
    directory = VOCDirectory(tmp_path, VOC_CLASSES)
    if ((mask <= len(VOC_CLASSES)) | (mask == VOID)).all():
        np.testing.assert_array_equal(directory.mask("a"), mask)
    else:
        with pytest.raises(UserError, match="21 is no class index"):
            directory.mask("a")
