"""ImageNet's path on the miniature, from folders of JPEG files to Tables 3 and 4, through the real stages."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize, evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.models.network_files import load_network
from attribution_preservation.models.pretrained import imagenet_url
from attribution_preservation.storage.identity import network_files
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import dvc, make_project, run_all, run_stage, write_parameters

METHODS = ["naive", "ewa", "swa", "sswa"]
FEW = {
    "runtime.jobs": 1,
    "seed_groups": {"all": [0]},
    "data.imagenet.miniature": {
        "seed": 0, "train_images": 8, "val_images": 3, "segmented_images": 12, "smallest": 60, "largest": 90,
    },
    "teacher.optimization.epochs": 1,
    "teacher.optimization.milestones": [],
    "prune_weights.students.one_shot_60.epochs": 1,
    "prune_weights.students.one_shot_90.epochs": 1,
    "prune_weights.optimization.images_per_epoch": 64,
    "prune_channels.optimization.epochs": 1,
    "prune_channels.optimization.images_per_epoch": 64,
    "figures.heatmap_rows": 2,
}  # fmt: skip
FRAMING = Framing(size=56, resize=64)


@pytest.fixture(scope="module")
def finished_imagenet(tmp_path_factory):
    """A project in which every stage ran on few images, and what each printed."""
    root = make_project(tmp_path_factory.mktemp("imagenet") / "project")
    write_parameters(root, FEW, "imagenet-smoke")
    return root, run_all(root)


def results_of(root):
    results = pd.read_csv(root / "reports" / "results.csv", keep_default_na=False)
    return results[results["attribution"].isin(["", "grad_cam"])]


def value(results, **where):
    for column, wanted in where.items():
        results = results[results[column] == wanted]
    (number,) = results["value"]
    return float(number)


def test_both_tables_are_filled(finished_imagenet):
    tables = finished_imagenet[0] / "reports" / "tables"
    third, fourth = (pd.read_csv(tables / f"table_{number}.csv") for number in (3, 4))
    networks = ["Teacher", "Centre (baseline)", "Random (baseline)"]
    assert third["network"].tolist() == networks + ["Naive", "EWA", "SWA", "SSWA"] * 2
    assert fourth["network"].tolist() == [*networks, "Naive", "EWA", "SWA", "SSWA"]
    for table in (third, fourth):
        trained = table[~table["network"].isin(networks)]
        figures = ["top1", "roc_auc", "point_accuracy", "cosine", "l2", "l2_per_cell"]
        assert trained[figures].notna().all(axis=None)
        assert (trained["n"] == 12).all()
    assert third["roc_auc_published"].notna().sum() == 9
    assert fourth.set_index("network").loc["EWA"].filter(like="_published").isna().all()


def test_each_compression_has_its_own_teacher(finished_imagenet):
    results = results_of(finished_imagenet[0])
    assert set(results.loc[results["compression"] == "teacher", "teacher"]) == {"vgg", "resnet"}
    assert set(results.loc[results["compression"] == "prune_weights", "teacher"]) == {"vgg"}
    assert set(results.loc[results["compression"] == "prune_channels", "teacher"]) == {"resnet"}
    metrics = json.loads((finished_imagenet[0] / "reports" / "metrics.json").read_text())
    assert set(metrics["teacher"]) == {"vgg", "resnet"}
    assert set(metrics["prune_channels"]["rate_10"]) == set(METHODS)


@pytest.mark.parametrize(
    ("compression", "student", "full"),
    [("prune_weights", "one_shot_90", "vgg"), ("prune_channels", "rate_10", "resnet")],
)
def test_every_score_of_a_student_is_that_of_its_network_on_those_images(
    finished_imagenet, monkeypatch, compression, student, full
):
    root, _ = finished_imagenet
    monkeypatch.chdir(root)  # the images lie where params.yaml says, from there
    store = Store(root / "data" / "dataset")
    positions = store.part("val")
    labels = store.labels(positions)
    pairs = scored_pairs(store, positions, FRAMING)
    rows = pairs.image[: len(pairs) // 2]
    parameters = read_yaml(root / "params.yaml")["input"]
    images = Normalize(parameters["mean"], parameters["std"])(evaluation_images(store, positions, FRAMING))
    models = root / "models" / "all" / "all"
    teacher = load_network(models / "teacher" / full / "seed-0" / "network.safetensors")[0]
    (path,) = network_files(models / compression / student / "paper" / "swa" / "seed-0")
    network = load_network(path)[0]
    with torch.no_grad():
        logits = {"teacher": teacher(images), "student": network(images)}
    top = {name: of_network.argmax(1) for name, of_network in logits.items()}
    # Else nothing below could tell a network's own question from its teacher's.
    assert (top["student"] != top["teacher"])[rows].any()

    def maps(explained, classes):
        """Grad-CAM at the last activation by plain autograd."""
        activation = explained.last_activation(images[rows]).detach().requires_grad_()
        chosen = explained.logits_from_activation(activation).gather(1, classes[rows][:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, activation)
        return F.relu((gradient.sum((2, 3))[:, :, None, None] * activation).sum(1)).detach()

    results = results_of(root)
    where = {"compression": compression, "student": student, "method": "swa"}
    known = labels >= 0
    accuracy = 100 * (top["student"].numpy()[known] == labels[known]).mean()
    assert value(results, **where, metric="top1") == pytest.approx(accuracy)
    agreement = 100 * (top["student"] == top["teacher"]).double().mean()
    assert value(results, **where, metric="agreement") == pytest.approx(float(agreement))
    truth = [pairs.masks[row] > 0 for row in pairs.mask_row[: len(rows)]]
    for population, classes in (("own", top["student"]), ("all", top["teacher"])):
        upsampled = F.interpolate(maps(network, classes)[None], size=(56, 56), mode="bilinear")[0].numpy()
        areas = [
            100 * roc_auc_score(mask.ravel(), one_map.ravel()) if one_map.any() else 50.0
            for mask, one_map in zip(truth, upsampled, strict=True)
        ]
        expected = pytest.approx(np.mean(areas), abs=1e-3)
        assert value(results, **where, population=population, metric="roc_auc") == expected
    both = [maps(explained, top["teacher"]).flatten(1) for explained in (network, teacher)]
    cosines = F.cosine_similarity(*both).numpy()
    assert value(results, **where, population="all", metric="cosine") == pytest.approx(cosines.mean(), abs=1e-5)
    assert results[(results["population"] == "own") & (results["metric"] == "cosine")].empty


def test_maps_of_another_teachers_top_classes_are_one_line(finished_imagenet):
    root, _ = finished_imagenet
    path = next((root / "maps" / "all" / "all" / "prune_channels").rglob("network.safetensors"))
    kept = path.read_bytes()
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        description = file.metadata()
    tensors["asked"][0] += 1
    save_file(tensors, path, description)
    try:
        done = run_stage(root, "evaluate")
    finally:
        path.write_bytes(kept)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"evaluate: error: {path.relative_to(root)} explains other classes than its teacher's")


def test_a_student_without_its_teacher_is_one_line(finished_imagenet, tmp_path):
    root, _ = finished_imagenet
    teacher = root / "models" / "all" / "all" / "teacher" / "vgg"
    teacher.rename(tmp_path / "vgg")
    try:
        done = run_stage(root, "attribute")
    finally:
        (tmp_path / "vgg").rename(teacher)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    message = "models/all/all/teacher holds no teacher vgg of seed 0; run the stages that train networks first"
    assert line == f"attribute: error: {message}"


def test_a_networks_maps_of_one_class_stand_there_for_both_questions(finished_imagenet):
    root, _ = finished_imagenet
    teacher = load_file(root / "maps" / "all" / "all" / "teacher" / "vgg" / "seed-0" / "network.safetensors")
    half = len(teacher["grad_cam"]) // 2
    assert torch.equal(teacher["grad_cam"][:half], teacher["grad_cam"][half:])


def test_the_profile_has_at_most_16_stage_instances(finished_imagenet):
    root, _ = finished_imagenet
    assert dvc(root, "init", "-q", "--no-scm").returncode == 0
    instances = dvc(root, "stage", "list", "--name-only").stdout.split()
    assert {"teacher@vgg-all", "teacher@resnet-all", "report"} <= set(instances)
    assert len(instances) <= 16


def test_the_full_profile_on_a_machine_without_imagenet_says_what_is_missing(project):
    write_parameters(project, {}, "imagenet")
    assert run_stage(project, "check").returncode == 0
    done = run_stage(project, "dataset")
    assert done.returncode == 2
    message = "dataset: error: data/imagenet/train is missing; data.root must hold train/WNID and val/WNID"
    assert done.stderr.splitlines() == [message]


def test_images_that_are_gone_are_one_line_that_says_what_to_run(finished_imagenet, tmp_path):
    root, _ = finished_imagenet
    raw = root / "data" / "raw"
    raw.rename(tmp_path / "raw")
    try:
        done = run_stage(root, "attribute")
    finally:
        (tmp_path / "raw").rename(raw)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "which was there when the data set was made; run the stage dataset again (dvc repro -f dataset)"
    )


def test_a_pretrained_network_is_taken_as_it_is_and_its_checksum_is_a_parameter(finished_imagenet, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished_imagenet[0], copy, ignore=shutil.ignore_patterns(".resume"))
    theirs = torchvision.models.resnet34(weights=None).eval()
    # Where torch keeps what it has downloaded.
    kept = tmp_path / "hub" / "checkpoints" / imagenet_url("resnet34").rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), kept)
    checksum = f"sha256:{hashlib.sha256(kept.read_bytes()).hexdigest()}"
    full = {"architecture": "resnet34", "width_divisor": 1, "hidden": [], "dropout": 0.0, "init": "imagenet"}
    pretrained = {
        "teacher.networks": {"resnet": full | {"weights": checksum}},
        "teacher.optimization": None,
        **{f"{stage}.teacher": "resnet" for stage in ("prune_weights", "prune_channels", "distill", "scratch")},
    }
    write_parameters(copy, FEW | pretrained, "imagenet-smoke")
    assert run_stage(copy, "check").returncode == 0
    done = run_stage(copy, "teacher", TORCH_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    network = load_network(copy / "models/all/all/teacher/resnet/seed-0/network.safetensors")[0]
    images = torch.randn(2, 3, 56, 56)
    torch.testing.assert_close(network(images), theirs(images))
    # Another file than the parameters name.
    wrong = {"resnet": full | {"weights": "sha256:0123456789abcdef"}}
    write_parameters(copy, FEW | pretrained | {"teacher.networks": wrong}, "imagenet-smoke")
    done = run_stage(copy, "teacher", TORCH_HOME=str(tmp_path))
    assert done.returncode == 2
    assert f"begins with {checksum[7:23]}, not 0123456789abcdef" in done.stderr
