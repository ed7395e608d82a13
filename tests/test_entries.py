"""Entries: whoever adds one is told what is wrong with it, and nothing that could be forgotten is kept elsewhere."""

import copy
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter

from attribution_preservation import attribution, compression, data, matching, models
from attribution_preservation.attribution.method import Attribution, AttributionMethod, MethodSettings
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.attribution.relevance import propagate
from attribution_preservation.compression.compression import Compression
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.compression.shape import Frame
from attribution_preservation.data.source import DataSource, data_section, named_sources
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.entries import by_name, entry_of, every, load, missing_line
from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import MapSettings, MatchingLoss, settings_of
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.matching.names import method_names
from attribution_preservation.matching.variants import ENTRY, methods_of
from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.build import build
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT, make_network

# What an entry's function is given whatever its settings are.
GIVEN = {"network", "images", "classes", "image_of_pair", "activation"}


KINDS = {
    "attribution": (attribution, AttributionMethod, METHODS),
    "matching": (matching, MatchingLoss, LOSSES),
    "compression": (compression, Compression, COMPRESSIONS),
    "data": (data, DataSource, SOURCES),
    "models": (models, NamedArchitecture, NETWORKS),
}
WITH_MAPS = ("attribution", "matching")
EVERY = [(kind, name) for kind in WITH_MAPS for name in KINDS[kind][2]]


def entries_of(package, kind):
    """Every entry that a module of a package holds, with its module's and its variable's name."""
    for module in pkgutil.iter_modules(package.__path__):
        held = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        for variable, entry in held.items():
            if isinstance(entry, kind) and module.name != kind.list_module:
                yield module.name, variable, entry


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_of_a_folder_is_in_its_list_and_found_by_its_name(kind):
    package, record, listed = KINDS[kind]
    there = list(entries_of(package, record))
    assert {name for name, *_ in there} == set(listed)
    for module, variable, entry in there:
        assert (entry.name, variable) == (module, module.upper())
        assert load(record, entry.name) is entry_of(record, entry.name) is listed[entry.name]
    assert every(record) is listed


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_has_a_title(kind):
    titles = [entry.title for entry in KINDS[kind][2].values()]
    assert len(set(titles)) == len(titles)
    for title in titles:
        assert len(title) > 2
        assert title[0].isupper()


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_an_entry_has_an_example_that_is_valid_and_small(kind, name):
    _, record, listed = KINDS[kind]
    entry = listed[name]
    settings = entry.settings.model_validate({"maps": name, **entry.example})
    assert entry_of(record, settings.maps) is entry
    # Else an example would say more than it must.
    assert not entry.example.keys() & {"maps", "pairs", "images"}


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_settings_are_its_functions_keywords(name):
    method = METHODS[name]
    keywords = set(inspect.signature(method.explain).parameters) - GIVEN
    own = set(method.settings.model_fields) - set(MethodSettings.model_fields)
    if name == "information_bottleneck":  # it makes keywords of them, and has one that nobody may choose
        own, keywords = own - {"layer", "references"}, keywords - {"units", "weight"}
    assert own == keywords


@pytest.mark.parametrize(
    "name", ["nothing", "pairs", "method", "methods", "../attribution/rise", "", None, 3, ["rise"]]
)
def test_a_name_without_an_entry_is_none_whatever_module_there_is(name):
    assert load(AttributionMethod, name) is None


def test_what_an_entrys_module_lacks_is_not_taken_for_a_missing_entry(monkeypatch):
    def missing(path):
        raise ModuleNotFoundError("No module named 'zennit'", name="zennit")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="zennit"):
        load(AttributionMethod, "rise")


def test_two_entries_of_one_name_are_refused():
    entry = AttributionMethod("rise", "Another", propagate)
    with pytest.raises(ValueError, match="two entries are called rise"):
        by_name(*METHODS.values(), entry)


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.settings is None])
def test_settings_of_a_source_that_has_none_are_an_unknown_parameter(name):
    values = read_yaml(PROJECT / "params" / "digits.yaml")["data"] | {name: {}}
    with pytest.raises(UserError, match=f"{name}: unknown parameter"):
        validate(data_section(SOURCES.values()), values, "data")


# Modules of the packages, and a word, that are no entry.
@pytest.mark.parametrize(
    ("kind", "name", "refusal"),
    [
        ("attribution", "smooth_grad", "there is no attribution method smooth_grad"),
        ("matching", "best", "there is no matching loss best"),
        ("compression", "shape", "there is no compression shape"),
        ("data", "store", "there is no data source store"),
        ("models", "vgg", "there is no architecture vgg"),
    ],
)
def test_a_name_without_an_entry_is_refused(kind, name, refusal):
    with pytest.raises(ValueError, match=f"^{refusal}$"):
        entry_of(KINDS[kind][1], name)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_whose_line_is_missing_is_named_with_its_list(kind, monkeypatch):
    package, record, listed = KINDS[kind]
    name = next(iter(listed))
    assert missing_line(record, name) is missing_line(record, "no_entry") is None
    monkeypatch.setattr(f"{package.__name__}.{record.list_module}.{record.list_module.upper()}", {})
    assert missing_line(record, name) == f"{name} is missing in {kind}/{record.list_module}.py"


def test_settings_of_no_method_explain_nothing():
    with pytest.raises(ValueError, match="there is no attribution method smooth_grad"):
        Attribution(MethodSettings(maps="smooth_grad"), make_network(0), torch.zeros(1, 3, 8, 8))


def test_settings_of_no_loss_match_nothing():
    with pytest.raises(ValueError, match="there is no matching loss best"):
        CompressionObjective(make_network(1), make_network(2), MapSettings(maps="best", strength=1.0))


@pytest.mark.parametrize("path", sorted((PROJECT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_stage_reads_of_the_section_data_what_the_check_reads(path):
    values = read_yaml(path)["data"]
    of_stage = data_section(named_sources(values)).model_validate(values)
    of_check = data_section(SOURCES.values()).model_validate(values)
    assert of_stage.settings == of_check.settings
    assert (of_stage.settings is None) == (SOURCES[values["source"]].settings is None)


def test_the_settings_of_the_chosen_source_may_not_be_missing_and_others_may():
    values = read_yaml(PROJECT / "params" / "digits.yaml")["data"]
    section = data_section(SOURCES.values())
    del values["imagenet"]
    assert section.model_validate(values).settings.size == 56
    del values["digits"]
    with pytest.raises(ValueError, match="digits: the settings of the chosen source are missing"):
        section.model_validate(values)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_runs_with_its_example_and_with_what_it_says_that_it_needs(name):
    objective = CompressionObjective(make_network(1), make_network(2), settings_of(name, **LOSSES[name].example))
    objective.start_epoch(0)
    parts = objective(torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64))
    assert ("matching" in parts) == (name != "none")
    # What draws channels has a share of them to leave out, and the reverse.
    assert (LOSSES[name].draw is not None) == ("dropped_share" in LOSSES[name].settings.model_fields)
    # A map of layers may choose them.
    layered = LOSSES[name].of == "layers" and name != "none"
    assert layered == ("layers" in LOSSES[name].settings.model_fields)


def student_settings(name, value=None):
    """Settings of one student, as the section of a compression reads them."""
    students = TypeAdapter(COMPRESSIONS[name].settings.model_fields["students"].annotation)
    return students.validate_python({"one": COMPRESSIONS[name].example if value is None else value})["one"]


def section(name, settings):
    compression, epochs = COMPRESSIONS[name], {"snapshots": []} if name == "distill" else {}
    optimization = {
        "epochs": 2, "images_per_epoch": None, "batch_size": 4, "learning_rate": 0.1, "milestones": [], "gamma": 1.0,
        "momentum": 0.9, "weight_decay": 0.0, "augmentation": {"crop_scale": None, "flip": 0.0},
    }  # fmt: skip
    if name == "prune_weights":
        del optimization["epochs"]  # each student has its own
    more = {"logits": {"temperature": 4.0, "weight": 0.5}} if name == "distill" else {}
    matchings = {"matchings": ["swa"]} if compression.matched else {}
    return compression.settings.model_validate(
        {"teacher": "full", "students": {"one": compression.example}, "optimization": optimization}
        | matchings | more | epochs
    )  # fmt: skip


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_every_compression_makes_the_student_that_its_shape_foretells_and_trains_it(name):
    compression = COMPRESSIONS[name]
    settings = student_settings(name)
    teacher = build("vgg6_bn", 1, classes=3, input_size=32, dropout=0.0)
    frame = Frame(teacher.classes, teacher.input_size, teacher.head.dropout)
    student = compression.student(settings, frame, lambda: copy.deepcopy(teacher))
    shape = compression.shape(settings, NETWORKS["vgg6_bn"].shape)
    assert list(shape.layers) == list(student.structure()["layers"])
    whole = section(name, settings)
    plan = compression.plan(whole, settings)
    assert plan.schedule.epochs >= 1
    if compression.matched:
        loss = compression.objective(whole, student, teacher, settings_of("swa", strength=1.0))
        loss.start_epoch(0)
        parts = loss(torch.randn(2, 3, 32, 32), torch.ones(2, 3))
        assert {"loss", "task", "matching", "logits"} <= parts.keys()


@pytest.mark.parametrize("name", [name for name, entry in COMPRESSIONS.items() if entry.constraint])
def test_a_constraint_holds_after_any_step_and_goes_on_from_its_state(name):
    settings = student_settings(name)
    network = build("vgg6_bn", 4, classes=3, input_size=32, dropout=0.0)
    constraint = COMPRESSIONS[name].constraint(settings, network)
    constraint.begin(1)
    held = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = constraint.state()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    constraint.apply()
    zeros = {key for key, tensor in held.items() if (tensor == 0).any() and key.endswith("weight")}
    assert zeros  # half of the weights of the example are pruned
    for key in zeros:
        assert not network.state_dict()[key][held[key] == 0].any()
    # Another network takes the state over, and is held to the same.
    other = build("vgg6_bn", 4, classes=3, input_size=32, dropout=0.0)
    COMPRESSIONS[name].constraint(settings, other).load_state(state)
    for key in zeros:
        assert not other.state_dict()[key][held[key] == 0].any()


# Each method in a process of its own, which has imported what all have in common.
FIRST_RUN = """
import os, sys, torch
from attribution_preservation.attribution.method import Attribution, import_libraries
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.models.build import build
from attribution_preservation.process.environment import LIBRARIES

torch.manual_seed(0)
network = build("vgg6_bn", 8, classes=3, input_size=32, dropout=0.0).eval()
images = torch.randn(6, 3, 32, 32)
for name, method in METHODS.items():
    if os.fork() == 0:
        settings = method.settings(maps=name, **method.example)
        import_libraries([settings])
        before = set(LIBRARIES) & set(sys.modules)
        Attribution(settings, network, images)(network, images[:1], torch.tensor([0]))
        print(name, *sorted(set(LIBRARIES) & set(sys.modules) - before), flush=True)
        os._exit(0)
    os.wait()
"""


def test_a_method_says_which_libraries_it_imports_when_it_first_runs():
    # Else what a stage records of them would depend on whether this process or another explains networks.
    command = [sys.executable, "-c", FIRST_RUN]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(METHODS)


@pytest.mark.parametrize("path", sorted((PROJECT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_audit_names_methods_as_the_stages_that_train_them_do(path):
    for name, entry in read_yaml(path)["matching"].items():
        assert method_names(name, entry) == list(methods_of(name, validate(ENTRY, entry)))
