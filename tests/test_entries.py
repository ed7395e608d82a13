"""Entries: whoever adds one is told what is wrong with it, and nothing that could be forgotten is kept elsewhere."""

import importlib
import inspect
import pkgutil

import pytest

from attribution_preservation import attribution
from attribution_preservation.attribution.method import AttributionMethod, MethodSettings, method_of
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.attribution.relevance import propagate
from attribution_preservation.entries import by_name, load

# What an entry's function is given whatever its settings are.
GIVEN = {"network", "images", "classes", "image_of_pair", "activation"}


def entries_of(package, kind):
    """Every entry that a module of a package holds, with its module's and its variable's name."""
    for module in pkgutil.iter_modules(package.__path__):
        held = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        for variable, entry in held.items():
            if isinstance(entry, kind) and held["__name__"] == module_of(entry):
                yield module.name, variable, entry


def module_of(method):
    return method.explain.__module__


def test_every_entry_of_the_folder_is_in_the_list_and_found_by_its_name():
    there = list(entries_of(attribution, AttributionMethod))
    assert {name for name, *_ in there} == set(METHODS)
    for module, variable, entry in there:
        assert (entry.name, variable) == (module, module.upper())
        assert load("attribution_preservation.attribution", entry.name, AttributionMethod) is METHODS[entry.name]


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_settings_are_its_functions_keywords(name):
    method = METHODS[name]
    keywords = set(inspect.signature(method.explain).parameters) - GIVEN
    own = set(method.settings.model_fields) - set(MethodSettings.model_fields)
    if name == "information_bottleneck":  # it makes keywords of them, and has one that nobody may choose
        own, keywords = own - {"layer", "references"}, keywords - {"units", "weight"}
    assert own == keywords


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_example_is_valid_and_small(name):
    settings = METHODS[name].settings.model_validate({"maps": name, **METHODS[name].example})
    assert method_of(settings) is METHODS[name]
    # With the same settings other than the example's a profile would say more than it must.
    assert not METHODS[name].example.keys() & {"maps", "pairs"}


@pytest.mark.parametrize(
    "name", ["nothing", "pairs", "method", "methods", "../attribution/rise", "", None, 3, ["rise"]]
)
def test_a_name_without_an_entry_is_none_whatever_module_there_is(name):
    assert load("attribution_preservation.attribution", name, AttributionMethod) is None


def test_what_an_entrys_module_lacks_is_not_taken_for_a_missing_entry(monkeypatch):
    def missing(path):
        raise ModuleNotFoundError("No module named 'zennit'", name="zennit")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="zennit"):
        load("attribution_preservation.attribution", "rise", AttributionMethod)


def test_two_entries_of_one_name_are_refused():
    entry = AttributionMethod("rise", "Another", propagate)
    with pytest.raises(ValueError, match="two entries are called rise"):
        by_name(*METHODS.values(), entry)


def test_settings_of_no_method_are_refused():
    with pytest.raises(ValueError, match="there is no attribution method smooth_grad"):
        method_of(MethodSettings(maps="smooth_grad"))
