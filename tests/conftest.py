"""Toy data sets and networks, small enough to be checked by hand."""

import contextlib
import copy
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from filelock import FileLock
from PIL import Image

from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory
from attribution_preservation.errors import UserError
from attribution_preservation.models.network import Network
from attribution_preservation.models.resnet import ResNet
from attribution_preservation.models.resnet_shape import residual
from attribution_preservation.models.vgg import VGG
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from stages.code import main as write_all_manifests

PROJECT = Path(__file__).parents[1]
SITE = PROJECT / "tests" / "faults" / "site"
ORDER = (
    "code",
    "check", "dataset", "teacher", "prune_weights", "prune_channels", "distill", "scratch", "attribute", "evaluate",
    "probe", "roar", "analysis", "figures", "report",
)  # fmt: skip
# What differs between two machines, and may change nothing.
ELSEWHERE = {
    "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "PYTHONHASHSEED": "7",
    "TZ": "Pacific/Auckland",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _torch_as_it_starts():
    """One seed, and no kernel refused: a test that trains in this process leaves torch in deterministic mode."""
    torch.manual_seed(0)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def network():
    """A two-convolution member of the family, float64, eval mode, with statistics that are not trivial."""
    return make_network(0)


def make_network(seed: int) -> Network:
    torch.manual_seed(seed)
    return _as_trained(VGG((4, "M", 6, "M"), classes=3, input_size=8, dropout=0.5))


def make_hidden(seed: int) -> Network:
    """The same with torchvision's kind of classifier."""
    torch.manual_seed(seed)
    return _as_trained(VGG((4, "M", 6, "M"), classes=3, input_size=8, dropout=0.5, hidden=(20, 12)))


def make_residual(seed: int) -> Network:
    """Two blocks, one of them with a convolution beside it, and maps as large as the others' explained ones."""
    torch.manual_seed(seed)
    return _as_trained(ResNet(residual(4, False, [(4, 1, 1), (6, 1, 1)]), classes=3, input_size=8, dropout=0.5))


MAKERS = {"linear": make_network, "hidden": make_hidden, "residual": make_residual}


def _as_trained(network: Network) -> Network:
    network = network.double()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(-1, 1)
                module.bias.uniform_(-0.5, 0.5)
        for linear in network.head.linears:
            linear.weight.normal_()
            linear.bias.normal_()
    return network.eval()


def write_voc_image(root: Path, name: str, labels: list[str], mask: np.ndarray, size: tuple[int, int] | None = None):
    """One image of a VOC directory; the image has the mask's size unless another (height, width) is asked for."""
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    height, width = size or mask.shape
    pixels = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
    Image.fromarray(mask.astype(np.uint8)).save(root / "SegmentationClass" / f"{name}.png")
    annotation = ElementTree.Element("annotation")
    for label in labels:
        node = ElementTree.SubElement(annotation, "object")
        ElementTree.SubElement(node, "name").text = label
    ElementTree.ElementTree(annotation).write(root / "Annotations" / f"{name}.xml")


def write_splits(root: Path, train: list[str], val: list[str]):
    for kind in ("Main", "Segmentation"):
        (root / "ImageSets" / kind / "train.txt").write_text("".join(f"{name}\n" for name in train))
        (root / "ImageSets" / kind / "val.txt").write_text("".join(f"{name}\n" for name in val))


@pytest.fixture
def voc(tmp_path):
    """A VOC directory with two training images and two for evaluation, of different sizes."""
    return make_voc(tmp_path / "VOCdevkit" / "VOC2012")


def make_voc(root: Path) -> VOCDirectory:
    person, dog = VOC_CLASSES.index("person") + 1, VOC_CLASSES.index("dog") + 1
    first = np.zeros((12, 20), dtype=np.uint8)
    first[2:6, 3:9], first[7:11, 12:18], first[6, :] = person, dog, 255
    second = np.zeros((16, 10), dtype=np.uint8)
    second[4:12, 2:8] = dog
    for name, labels, mask in (
        ("a", ["person"], first),
        ("b", ["dog", "dog"], second),
        ("c", ["person", "dog"], first),
        ("d", ["dog"], second),
    ):
        write_voc_image(root, name, labels, mask)
    write_splits(root, ["a", "b"], ["c", "d"])
    return VOCDirectory(root, VOC_CLASSES)


WNIDS = ("n01440764", "n02102040", "n03888257")  # of ImageNet's classes 0, 217 and 701


def make_imagenet(root: Path) -> Path:
    """A folder in ImageNet's layout with three of its classes: two images each for training, one for validation."""
    for number, wnid in enumerate(WNIDS):
        for part, names in (
            ("train", [f"{wnid}_10", f"{wnid}_9"]),
            ("val", [f"ILSVRC2012_val_{3 - number:08d}"]),
        ):
            (root / part / wnid).mkdir(parents=True, exist_ok=True)
            for k, name in enumerate(names):
                pixels = np.random.default_rng([number, k, len(part)]).integers(0, 256, (9 + number, 12, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / wnid / f"{name}.JPEG", quality=95)
    write_segmentation(root / "gtsegs_ijcv.mat", *segmented())
    return root


def segmented() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two images with masks, of different sizes."""
    random = np.random.default_rng(7)
    images = [random.integers(0, 256, (6, 8, 3), dtype=np.uint8), random.integers(0, 256, (9, 5, 3), dtype=np.uint8)]
    masks = [np.zeros(image.shape[:2], dtype=np.uint8) for image in images]
    masks[0][1:4, 2:7], masks[1][5:, 1:3] = 1, 1
    return images, masks


def write_segmentation(path: Path, images: list[np.ndarray], masks: list[np.ndarray]):
    """The file of the segmentation set, by hand: references to arrays in MATLAB's order of axes."""
    with h5py.File(path, "w") as file:
        for name, arrays in (("img", images), ("gt", masks)):
            cells = file.create_dataset(f"value/{name}", (len(arrays), 1), dtype=h5py.ref_dtype)
            for k, array in enumerate(arrays):
                dataset = file.create_dataset(f"#refs#/{name}{k}", data=array.transpose(*reversed(range(array.ndim))))
                if name == "gt":
                    cell = file.create_dataset(f"#refs#/cell{k}", (1, 1), dtype=h5py.ref_dtype)
                    cell[0, 0], dataset = dataset.ref, cell
                cells[k, 0] = dataset.ref


def pack_validation(root: Path):
    """Put the validation images of a folder into the official archive, their classes into the development kit."""
    paths = sorted(root.glob("val/*/*.JPEG"), key=lambda path: path.name)
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as tar:
        for path in reversed(paths):  # the order of members does not count, their names do
            tar.add(path, path.name)
    # Numbers of synsets are the kit's own; the second one is a group of classes.
    numbers = dict(zip(WNIDS, (3, 1, 4), strict=True))
    write_devkit(
        root / "ILSVRC2012_devkit_t12.tar.gz",
        [(3, WNIDS[0], 0), (2, "n00001740", 2), (1, WNIDS[1], 0), (4, WNIDS[2], 0)],
        "".join(f"{numbers[path.parent.name]}\n" for path in paths).encode(),
    )
    shutil.rmtree(root / "val")


def write_devkit(path: Path, synsets: list[tuple[int, str, int]], ground_truth: bytes):
    """A development kit: number, wnid and number of children of each synset, and the number of each image's."""
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"synsets": np.array([list(synsets)], dtype=kind).T})
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (
            ("meta.mat", stream.getvalue()),
            ("ILSVRC2012_validation_ground_truth.txt", ground_truth),
        ):
            info = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


TINY = {
    "profile": "tiny",
    "seed_groups": {"all": [0]},
    "data.digits": {"seed": 0, "size": 48, "train_images": 64, "evaluation_images": 24},
    "input.size": 32,
    "teacher.optimization.epochs": 2,
    "teacher.optimization.milestones": [1],
    "teacher.optimization.weight_decay": 0.00005,  # which DVC writes as 5e-05
    "matching": {
        "naive": {"maps": "none"},
        "sswa": {"maps": "swa", "strength": 50.0, "dropped_share": 0.3},
        "variants": {"first_seeds": 1, "methods": {"swa_abs": {"maps": "swa", "strength": 50.0, "rectifier": "abs"}}},
        "share": {
            "first_seeds": 1, "sweep": "dropped_share", "values": [0.1, 0.5], "of": {"maps": "swa", "strength": 50.0},
        },
    },
    "prune_weights.matchings": ["naive", "sswa"],
    "prune_weights.students": {
        "iterative": {"iterations": 3, "rate": 0.2, "epochs": 2, "snapshots": [0]},
        "one_shot": {"iterations": 1, "rate": 0.6, "epochs": 1},
    },
    "prune_weights.optimization.images_per_epoch": 32,
    "prune_channels.matchings": ["naive", "sswa", "variants", "share"],
    "prune_channels.optimization.epochs": 1,
    "prune_channels.optimization.images_per_epoch": 32,
    "distill.matchings": ["naive", "sswa"],
    "distill.snapshots": [1],
    "distill.optimization.epochs": 2,
    "distill.optimization.milestones": [1],
    "distill.optimization.images_per_epoch": 32,
    "scratch.students": {"half": {"architecture": "vgg6_bn", "width_divisor": 2}},
    "scratch.optimization.epochs": 1,
    "scratch.optimization.images_per_epoch": 32,
    "attribute.compared": {"students": ["iterative", "rate_70"], "methods": ["naive", "sswa"]},
    "attribute.methods": {
        "grad_cam": {"maps": "grad_cam"},
        "excitation_bp": {"maps": "excitation_bp"},
        "lrp": {"maps": "lrp"},
        "rap": {"maps": "rap", "pairs": 7},
        "rise": {"maps": "rise", "pairs": 3, "masks": 8, "cells": 4, "kept": 0.5, "seed": 0},
        "information_bottleneck": {
            "maps": "information_bottleneck", "pairs": 3, "steps": 2, "samples": 1, "references": 8, "seed": 0,
        },
    },
    "evaluate.methods": ["naive", "sswa"],
    "probe.removal": {"pairs": 12, "percents": [20, 80], "seed": 0},
    "probe.randomization": {
        "methods": ["grad_cam", "lrp"], "of_students": ["grad_cam"], "pairs": 4, "draws": 2, "seed": 0,
    },
    "probe.corruption": {"deviations": [40.0], "seed": 0},
    "probe.layers": {"names": ["conv4", "pool3"], "images": 10},
    "roar.methods": ["naive", "sswa"],
    "roar.percents": [50],
    "roar.classifier": {"architecture": "vgg6_bn", "width_divisor": 4, "dropout": 0.0, "size": 16},
    "roar.optimization.epochs": 1,
    "roar.optimization.milestones": [],
    "runtime.jobs": 1,
    "runtime.checkpoint_seconds": 0,  # a state after every epoch
    "report.iterations": [1, 3],
    "figures.heatmap_rows": 2,
}  # fmt: skip
BY_TWOS = TINY | {"runtime.jobs": 2}


@pytest.fixture
def project(tmp_path):
    """A copy of the project with a profile that trains in seconds."""
    return make_project(tmp_path / "project")


def make_project(root: Path) -> Path:
    # With byte code, else every copy compiles all modules again; without what another process is writing of it.
    for folder in ("stages", "attribution_preservation", "params"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=shutil.ignore_patterns("*.pyc.*"))
    (root / "live").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "live/.gitignore"):
        shutil.copyfile(PROJECT / name, root / name)
    write_parameters(root, TINY)
    return root


def write_parameters(root: Path, changes: dict, profile: str = "digits"):
    """params.yaml from a profile with some values changed, by dotted key."""
    values = read_yaml(PROJECT / "params" / f"{profile}.yaml")
    for key, value in changes.items():
        *above, last = key.split(".")
        section = values
        for part in above:
            section = section[part]
        section[last] = copy.deepcopy(value)  # a later change below it is not to reach the caller
    (root / "params.yaml").write_text(format_yaml(values))


def write_manifests(root: Path) -> None:
    """What the stage code does, in this process."""
    # Parameters that make no graph are for the stage itself to refuse.
    with contextlib.chdir(root), contextlib.suppress(UserError):
        (code,) = instances("code")
        write_all_manifests(code)


def command_of(name: str, root: Path = PROJECT) -> list[str]:
    """The words after `python -m` that do every instance of a stage, or any other command of `stages`."""
    stages = read_yaml(root / "dvc.yaml")["stages"]
    words = stages[name]["cmd"].split()[2:] if name in stages else [f"stages.{name}"]
    return list(itertools.takewhile(lambda word: not word.startswith("--"), words))


def run_stage(root: Path, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a stage in a copy of the project, whose code and parameters may have changed since."""
    if name != "code" and name in read_yaml(root / "dvc.yaml")["stages"]:
        write_manifests(root)
    return subprocess.run(
        [sys.executable, "-m", *command_of(name, root), *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        env=os.environ | variables,
        check=False,
    )


def run_all(root: Path, **variables: str) -> dict[str, str]:
    """Run every stage, without DVC; what each printed."""
    output = {}
    for name in ORDER:
        done = run_stage(root, name, **variables)
        assert done.returncode == 0, done.stderr
        output[name] = done.stdout
    return output


def dvc(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run DVC in a copy of the project."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        env=os.environ | {"DVC_NO_ANALYTICS": "1", "PATH": path} | variables,
        check=False,
    )


def hashes(root: Path, *folders: str) -> dict[str, str]:
    """MD5 of every file below some folders, by path."""
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


# Files that take minutes, and the two that make the runs that others share: side by side in two processes these come
# first, so that no process waits for another's run, and small files are left to fill the end.
FIRST = (
    "stages/test_path.py", "stages/test_dvc_habits.py", "faults/test_malformed.py", "faults/test_kills.py",
    "stages/test_imagenet.py", "stages/test_audit.py", "pipeline/test_cluster.py", "training/test_processes.py",
    "models/test_torchvision.py", "test_extend.py", "stages/test_remote.py", "placement/test_placement.py",
    "browser/test_landing.py", "faults/test_disk.py", "faults/test_changes.py", "browser/test_incomplete.py",
    "browser/test_page.py", "metrics/test_significance.py", "stages/test_code.py", "browser/test_sorting.py",
    "test_gpu.py", "training/test_live.py", "docs/test_site.py", "test_drawing.py", "faults/test_locks.py",
    "faults/test_reads.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files; the order of the tests of one file stays."""
    rank = {PROJECT / "tests" / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that whichever test process needs it first makes for all of them; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project in which every stage ran, in one process, without DVC; what each accessed is in `accesses/NAME`."""

    def make(folder: Path) -> None:
        root, accesses = make_project(folder / "project"), folder / "accesses"
        accesses.mkdir()
        variables = {"FAULT_STAGE": "*", "FAULT_LOG": str(accesses), "LOKY_MAX_CPU_COUNT": "1"}
        (folder / "output.json").write_text(json.dumps(run_all(root, PYTHONPATH=str(SITE), **variables)))

    folder = made_once(tmp_path_factory, "finished", make)
    return folder / "project", json.loads((folder / "output.json").read_text())


@pytest.fixture(scope="session")
def finished_by_dvc(tmp_path_factory):
    """The same by `dvc repro`, in another order, on what looks like another machine, networks by twos."""

    def make(folder: Path) -> None:
        root = make_project(folder / "project")
        write_parameters(root, BY_TWOS)
        for arguments in (("init", "-q", "--no-scm"), ("repro",)):
            done = dvc(root, *arguments, **ELSEWHERE)
            assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "finished_by_dvc", make) / "project"
