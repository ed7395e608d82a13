"""The page that the last stage makes shows the networks' own maps and scores."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import scored_pairs
from attribution_preservation.data.store import Store
from tests.conftest import run_stage


@pytest.fixture(scope="module")
def page(finished):
    text = (finished[0] / "reports" / "page" / "data.js").read_text()
    return json.loads(text.removeprefix("window.PAGE = ").removesuffix(";\n"))


@pytest.fixture(scope="module")
def pairs(finished):
    store = Store(finished[0] / "data" / "dataset")
    return scored_pairs(store, store.part("val"), Framing(size=32))


def maps_of(root, pattern):
    (path,) = (root / "maps" / "all").glob(pattern)
    return load_file(path)


def test_every_student_has_its_course_and_every_image_with_a_pair_is_there(page, pairs):
    courses = {course["title"]: course for course in page["explorer"]["courses"]}
    iterative = courses["weight pruning, iterative"]
    assert [level.split(",")[0] for level in iterative["levels"]] == ["iteration 1", "iteration 2", "iteration 3"]
    assert iterative["levels"][2].endswith("49 % of the convolution weights pruned")
    assert iterative["methods"] == ["Naive", "SSWA"]
    assert courses["weight pruning, one shot"]["levels"] == ["60 % of the convolution weights pruned"]
    assert courses["distillation, half"]["levels"] == ["epoch 1", "epoch 2"]
    assert courses["from scratch, half"]["methods"] == ["from scratch"]
    images = page["explorer"]["images"]
    assert [len(image["classes"]) for image in images] == np.unique(pairs.image, return_counts=True)[1].tolist()


def test_scores_are_those_of_the_maps(finished, page, pairs):
    titles = [course["title"] for course in page["explorer"]["courses"]]
    place = titles.index("weight pruning, iterative")
    student = maps_of(finished[0], "prune_weights/iterative/sswa/**/seed-0/iteration-03-epoch-02.safetensors")
    teacher = maps_of(finished[0], "teacher/vgg6_bn/seed-0/network.safetensors")
    entries = [kind for image in page["explorer"]["images"] for kind in image["classes"]]
    assert len(entries) == len(pairs)
    for pair, kind in enumerate(entries):
        (_, sswa) = kind["courses"][place]["levels"][2]
        ours, theirs = (arrays["grad_cam"][pair].ravel().astype(float) for arrays in (student, teacher))
        norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
        cosine = 1.0 if not ours.any() and not theirs.any() else ours @ theirs / norms if norms else 0.0
        assert sswa[4] == pytest.approx(cosine, abs=6e-4)
        image, label = pairs.image[pair], pairs.label[pair]
        assert sswa[3] == int(student["logits"][image, label] > 0)
        assert kind["courses"][place]["teacher"][3] == int(teacher["logits"][image, label] > 0)


def test_every_picture_that_the_page_names_lies_beside_it(finished, page):
    reports = finished[0] / "reports"
    for image in page["explorer"]["images"]:
        assert (reports / "page" / "images" / image["sheet"]).is_file()
    html = (reports / "index.html").read_text()
    sources = [part.split('"')[0] for part in html.split(' src="')[1:]]
    assert any(source.startswith("figures/heatmaps") for source in sources)
    for source in sources:
        assert (reports / source).is_file()
    assert 'alt=""' not in html


def test_every_picture_has_its_space_and_every_count_of_a_transfer_matrix_is_in_its_foot(finished):
    reports = finished[0] / "reports"
    html = (reports / "index.html").read_text()
    pictures = [part.split(">")[0] for part in html.split("<img")[1:]]
    assert len(pictures) == len(list((reports / "figures").glob("*.png")))
    for picture in pictures:
        with Image.open(reports / picture.split(' src="')[1].split('"')[0]) as opened:
            assert 'width="{}" height="{}"'.format(*opened.size) in picture
    matrices = sum(path.read_text().count("\n| seeds ") for path in (reports / "tables").glob("transfer_*.md"))
    assert matrices > 0
    foot = '<tfoot>\n<tr><th scope="row">n</th>'
    assert html.count(foot) == html.count("<tfoot>") == html.count('<th scope="row">seeds</th>') == matrices


def test_the_data_beside_the_page_is_of_its_run(finished, page):
    html = (finished[0] / "reports" / "index.html").read_text()
    run = html.split('data-run="')[1].split('"')[0]
    assert page["run"] == run
    assert f"fingerprint {run};" in html


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the project in which every stage ran: a report that fails has written tables before."""
    shutil.copytree(finished[0], tmp_path / "project", ignore=shutil.ignore_patterns(".resume"))
    shutil.rmtree(tmp_path / "project" / "models")
    return tmp_path / "project"


def test_a_damaged_figure_stops_the_page_in_one_line(copied):
    path = next((copied / "reports" / "figures").glob("*.png"))
    path.write_bytes(b"no picture")
    done = run_stage(copied, "report")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"report: error: reports/figures/{path.name} is damaged; run dvc repro"


def test_a_page_without_maps_is_one_line(copied):
    shutil.rmtree(copied / "maps")
    done = run_stage(copied, "report")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "report: error: maps is missing; run the stage that makes it first (dvc repro runs all in order)"
