"""What the pages tell a reader to copy does what they say."""

import copy
import re

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.utils import prune

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.metrics.localization import upsample
from attribution_preservation.metrics.similarity import cosine
from attribution_preservation.models.build import build
from tests.conftest import MAKERS, PROJECT
from tests.docs.examples import run

SIZE, CLASSES = 16, 3
LIBRARY = "attribution_preservation"


class Net(nn.Module):
    """A reader's own network: nothing of the library's."""

    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(width * 16, 16), nn.ReLU(), nn.Linear(16, CLASSES)
        )

    def forward(self, images):
        return self.head(self.trunk(images))


def patches(count, seed):
    """Noise with a patch in the colour of its class, somewhere; another thing of no colour lies beside it."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
    places = torch.randint(SIZE - 5, (count, 4), generator=generator)
    for image, label, (top, left, other_top, other_left) in zip(images, labels, places.tolist(), strict=True):
        image[:, other_top : other_top + 5, other_left : other_left + 5] += 0.7
        image[label, top : top + 5, left : left + 5] += 2
    return images, labels


def batches(data, epochs, seed):
    images, labels = data
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator).split(32):
            yield images[rows], labels[rows]


def trained_alone(network, data, epochs):
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for images, labels in batches(data, epochs, 0):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network.eval()


def pruned(teacher):
    """A copy with the smallest 80 % of the convolutions' weights masked."""
    student = copy.deepcopy(teacher)
    convolutions = [(module, "weight") for module in student.modules() if isinstance(module, nn.Conv2d)]
    prune.global_unstructured(convolutions, prune.L1Unstructured, amount=0.8)
    return student


def maps_of(page, network, images, classes):
    network.eval()
    feature_map = network.trunk(images)
    return page["swa_maps"](feature_map, network.head(feature_map), classes).detach().numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_readers_own_loop_keeps_the_maps_of_a_pruned_network(seed):
    page = run("keep.md", 0)
    data, (unseen, _) = patches(192, seed), patches(64, 100 + seed)
    torch.manual_seed(seed)
    teacher = trained_alone(Net(12), data, 6)
    before = copy.deepcopy(teacher.state_dict())
    kept, distances = {}, {}
    classes = teacher(unseen).argmax(1)
    for strength in (0.0, 50.0):
        student = pruned(teacher)
        optimizer = torch.optim.Adam(student.parameters(), 0.01)
        history = list(page["train"](student, teacher, batches(data, 6, seed), optimizer, strength))
        distances[strength] = [matching for _, matching in history]
        maps = [maps_of(page, network, unseen, classes) for network in (student, teacher)]
        assert maps[1].any(axis=(1, 2)).all()
        kept[strength] = cosine(*maps).mean()
        assert (student(unseen).argmax(1) == classes).float().mean() > 0.9  # predictions say nothing of it
    first, last = np.mean(distances[50.0][:3]), np.mean(distances[50.0][-6:])
    assert last < first
    assert last < 0.5 * np.mean(distances[0.0][-6:])
    assert kept[50.0] > kept[0.0]
    for name, values in teacher.state_dict().items():
        assert torch.equal(values, before[name]), name


@pytest.mark.parametrize("kind", MAKERS)
def test_the_readers_loop_has_the_loss_and_the_step_of_the_librarys(kind):
    student, teacher = MAKERS[kind](0), MAKERS[kind](1)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 1])
    theirs = copy.deepcopy(student)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for network in (student, theirs):  # dropout draws in orders of its own
        network.head.dropout = 0.0
    ((loss, matching),) = run("keep.md", 0)["train"](theirs, teacher, [(images, labels)], optimizer, 7.0)
    objective = CompressionObjective(student.train(), teacher, settings_of("swa", strength=7.0))
    parts = objective(images, labels)
    parts["loss"].backward()
    assert parts["matching"].item() > 1e-4
    assert loss == pytest.approx(parts["loss"].item(), rel=1e-12)
    assert matching == pytest.approx(parts["matching"].item(), rel=1e-12)
    for ours, stepped in zip(student.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(stepped, ours - 0.1 * ours.grad, atol=1e-11, rtol=0)


def test_a_readers_attribution_method_is_scored_like_the_librarys(network):
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(3, 3, 8, 8, generator=generator, dtype=torch.float64)
    classes = torch.tensor([2, 0, 1])
    masks = torch.zeros(3, 8, 8, dtype=torch.uint8).numpy()
    for number, label in enumerate(classes.tolist()):
        masks[number, 2:6, number : number + 4] = label + 1
    method = run("extend.md", 0)["ablation_cam"]
    page = run("extend.md", 1, ablation_cam=method, network=network, images=images, classes=classes, masks=masks)
    maps = page["maps"].float().numpy()
    assert maps.any(axis=(1, 2)).all()
    for score, resized, mask in zip(page["scores"].roc_auc, upsample(maps, 8), masks, strict=True):
        assert score == pytest.approx(100 * roc_auc_score(mask.ravel() > 0, resized.ravel()))
    pairs = method(network, images, torch.tensor([1, 2, 2]), torch.tensor([2, 0, 0]))
    torch.testing.assert_close(pairs, page["maps"][[2, 0, 0]])


def test_without_a_channel_a_linear_head_loses_that_channels_share(network):
    # Above the explained layer of this network lie a max-pool and the linear head alone.
    images, classes = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 2])
    maps = run("extend.md", 0)["ablation_cam"](network, images, classes)
    activation = network.last_activation(images)
    pooled = nn.functional.max_pool2d(activation, 2)
    shares = (network.head.linear.weight.view(3, 6, 2, 2)[classes] * pooled).sum((2, 3))
    expected = (shares[:, :, None, None] * activation).sum(1).clamp_min(0)
    torch.testing.assert_close(maps, expected.detach())


@pytest.mark.parametrize("kind", MAKERS)
def test_a_readers_matching_loss_reaches_the_student_alone(kind):
    student, teacher = MAKERS[kind](0), MAKERS[kind](1)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    attention_map = run("extend.md", 2)["attention_map"]
    page = run("extend.md", 3, attention_map=attention_map, student=student, teacher=teacher, images=images)
    assert page["loss"].item() > 1e-4
    assert sum(p.grad is not None and bool(p.grad.any()) for p in student.trunk.parameters()) > 3
    assert all(p.grad is None for p in teacher.parameters())
    same = copy.deepcopy(teacher).requires_grad_()
    same = run("extend.md", 3, attention_map=attention_map, student=same, teacher=teacher, images=images)
    assert same["loss"].item() == 0
    feature_map = torch.randn(2, 5, 3, 3)
    torch.testing.assert_close(attention_map(feature_map, 2), ewa_map(feature_map))


def test_a_compression_that_a_reader_adds_prunes_its_share_at_random():
    compression = run("extend.md", 4)["PRUNE_RANDOMLY"]
    network = build("vgg6_bn", 1, classes=2, input_size=32, dropout=0.0)
    settings = TypeAdapter(compression.settings.model_fields["students"].annotation).validate_python(
        {"half": {"share": 0.3, "seed": 5}}
    )["half"]
    masks = compression.constraint(settings, compression.student(settings, None, lambda: network))
    masks.begin(1)
    for name, module in network.convolutions().items():
        pruned = ~masks.state()[name]
        # Four standard deviations of a binomial share.
        assert pruned.double().mean() == pytest.approx(0.3, abs=4 * (0.21 / pruned.numel()) ** 0.5)
        assert torch.equal(module.weight == 0, pruned)


def test_a_source_that_a_reader_adds_comes_back_from_its_store(tmp_path):
    names = run("extend.md", 5)
    store = run("extend.md", 6, SHAPES=names["SHAPES"], folder=tmp_path)["store"]
    assert store.classes == ("disc", "square")
    train, val = store.part("train"), store.part("val")
    assert (len(train), len(val)) == (names["SHAPES"].training_images(None), 24)
    assert store.labels([*val[:3]]).tolist() == [[1, 0], [0, 1], [1, 1]]
    assert store.mask(train[0]) is None
    for position in val:
        name = store.records[position].name
        with Image.open(tmp_path / "shapes" / "JPEGImages" / f"{name}.jpg") as picture:
            assert np.array_equal(store.image(position), np.array(picture))
        with Image.open(tmp_path / "shapes" / "SegmentationClass" / f"{name}.png") as picture:
            assert np.array_equal(store.mask(position), np.array(picture))
        _, columns = np.nonzero(store.mask(position) == 1)
        assert len(columns) == 0 or columns.max() < 30  # discs are on the left


def test_a_network_that_a_reader_adds_has_the_layers_and_maps_that_the_page_says():
    entry = run("extend.md", 7)["VGG5_BN"]
    network = run("extend.md", 8, VGG5_BN=entry)["network"]
    assert len(network.convolutions()) == 4
    assert entry.shape.map_sizes(56)["pool3"] == network.map_size == 7
    assert network.layers == entry.shape.layers
    trained = copy.deepcopy(network).train()
    trained(torch.randn(2, 3, 56, 56)).sum().backward()
    assert all(weight.grad is not None for weight in trained.parameters())


# Names in files that extend.md tells to change, by the file.
SYMBOLS = {
    "attribution_preservation/attribution/methods.py": "METHODS",
    "attribution_preservation/matching/losses.py": "LOSSES",
    "attribution_preservation/compression/compressions.py": "COMPRESSIONS",
    "attribution_preservation/data/sources.py": "SOURCES",
    "attribution_preservation/models/networks.py": "NETWORKS",
    "attribution_preservation/models/network_files.py": "FAMILIES",
    "benchmarks/cost.py": "PROFILES",
    "benchmarks/workload.py": "SETS",
}


def test_every_file_that_extend_names_is_there():
    page = (PROJECT / "docs" / "extend.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:attribution_preservation|stages|tests|docs|params|benchmarks)/[\w/.-]+)`", page))
    assert set(SYMBOLS) < named
    assert len(named) > 20
    for name in named:
        path = PROJECT / name
        assert path.parent.is_dir() if "NAME" in name else path.exists(), name
    for file, symbol in SYMBOLS.items():
        paragraphs = [text for text in re.split(r"\n\n|\n(?=\d\. )", page) if f"`{file}`" in text]
        assert any(f"`{symbol}`" in text for text in paragraphs), file
        assert re.search(rf"^{symbol}\b", (PROJECT / file).read_text(encoding="utf-8"), re.M), file
