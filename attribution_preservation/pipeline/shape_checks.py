"""Checks across the sections of a profile: layers and map sizes that must match. Each error is one line."""

from typing import Any

from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.compression.shape import Shape, layers_of
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import LayerSettings, MatchingSettings
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.models.architecture import Architecture, narrowed
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.pipeline.profile_checks import MATCHED, methods_trained_by, runs, schedules
from attribution_preservation.training.batch_sizes import check_share


def check_shapes(profile: Any) -> None:
    """Refuse a profile in which a layer is missing, too small or not comparable.

    Raises:
        ValueError: the profile is refused; the message begins with the key.
        UserError: the same.
    """
    teachers = _teachers(profile)
    students = {compression: _students(profile, compression, teachers[compression]) for compression in COMPRESSIONS}
    _check_attribution(profile, teachers, students)
    _check_compared(profile)
    _check_grids(profile)
    _check_probe(profile, teachers, students)
    _check_roar(profile)
    _check_shares(profile, students)
    for compression in MATCHED:
        for method, matching in methods_trained_by(profile, compression).items():
            for student, layers in students[compression].items():
                where = f"matching.{method}, for {compression}.students.{student}"
                _check_matched(where, matching, layers, teachers[compression], profile.input.size)


def _teachers(profile: Any) -> dict[str, Architecture]:
    """The layers of every compression's teacher. A compression names one even if it does not run."""
    networks = {}
    for name, network in profile.teacher.networks.items():
        key = f"teacher.networks.{name}"
        layers = _layers(key, Shape(architecture=network.architecture, width_divisor=network.width_divisor))
        layers.map_sizes(profile.input.size)
        if reason := layers.refuses_hidden(network.hidden):
            raise ValueError(f"{key}.hidden: {reason}")
        whole = network.init == "imagenet" and SOURCES[profile.data.source].exclusive
        published = list(NETWORKS[network.architecture].hidden)
        if whole and network.hidden != published:
            raise ValueError(f"{key}.hidden: torchvision's network has {published}")
        networks[name] = layers
    of_compressions = {}
    for compression in COMPRESSIONS:
        name = getattr(profile, compression).teacher
        if name not in networks:
            raise ValueError(f"{compression}.teacher: {name} is none of teacher.networks ({', '.join(networks)})")
        of_compressions[compression] = networks[name]
    used = {getattr(profile, compression).teacher for compression in COMPRESSIONS if runs(profile, compression)}
    if used and (idle := set(networks) - used):
        raise ValueError(f"teacher.networks: no compression that runs starts from {sorted(idle)[0]}")
    return of_compressions


def _students(profile: Any, compression: str, teacher: Architecture) -> dict[str, Architecture]:
    students = {}
    for name, settings in getattr(profile, compression).students.items():
        key = f"{compression}.students.{name}"
        try:
            layers = COMPRESSIONS[compression].shape(settings, teacher)
        except (UserError, ValueError) as error:
            raise ValueError(f"{key}.{error}") from None
        if wider := layers.wider_than(teacher):
            raise ValueError(f"{key}: wider than its teacher ({wider})")
        sides = [shape.map_sizes(profile.input.size)[shape.explained_layer] for shape in (layers, teacher)]
        if sides[0] != sides[1]:
            raise ValueError(
                f"{key}: its attribution map has a side of {sides[0]}, its teacher's {sides[1]}; they could not be "
                "compared"
            )
        students[name] = layers
    return students


def _layers(key: str, shape: Shape) -> Architecture:
    try:
        return layers_of(shape)
    except (UserError, ValueError) as error:
        raise ValueError(f"{key}.{error}") from None


def _check_attribution(
    profile: Any, teachers: dict[str, Architecture], students: dict[str, dict[str, Architecture]]
) -> None:
    compared, size = profile.attribute.compared, profile.input.size
    running = [compression for compression in MATCHED if runs(profile, compression)]
    known = {name for compression in running for name in students[compression]}
    if unknown := [name for name in compared.students if name not in known]:
        raise ValueError(f"attribute.compared.students: no compression trains {unknown[0]}")
    trained = {method for compression in running for method in methods_trained_by(profile, compression)}
    if unknown := [name for name in compared.methods if name not in trained]:
        raise ValueError(f"attribute.compared.methods: {unknown[0]} is no method that a compression trains")
    of_students = [item for compression in running for item in students[compression].items()]
    everyone = [*teachers.values(), *(layers for _, layers in of_students)]
    few = [*teachers.values(), *(layers for name, layers in of_students if name in compared.students)]
    for name, method in profile.attribute.methods.items():
        explained = everyone if name in profile.attribute.every else few
        if reason := METHODS[method.maps].refuses(method, explained, size):
            raise ValueError(f"attribute.methods.{name}{reason}")
        if not (layer := getattr(method, "layer", None)):
            continue
        if any(layer not in layers.layer_names for layers in explained):
            there = ", ".join(everyone[0].layer_names)
            raise ValueError(f"attribute.methods.{name}.layer: no layer is called {layer}; there are {there}")
        sides = sorted({layers.map_sizes(size)[layer] for layers in explained})
        if len(sides) > 1:
            raise ValueError(
                f"attribute.methods.{name}.layer: at {layer} some networks have a side of {sides[0]}, others of "
                f"{sides[1]}; their maps could not be compared"
            )


def _check_compared(profile: Any) -> None:
    """The population `common` must have the same pairs everywhere."""
    compared = profile.attribute.compared.methods
    if missing := [name for name in profile.evaluate.methods if name not in compared]:
        raise ValueError(f"attribute.compared.methods: {missing[0]} is missing, which is among evaluate.methods")


def _check_grids(profile: Any) -> None:
    """A mask must not have more cells than the image has pixels: more cells need memory and give the same mask."""
    for name, method in profile.attribute.methods.items():
        if (cells := getattr(method, "cells", 0)) > profile.input.size:
            raise ValueError(
                f"attribute.methods.{name}.cells: {cells} cells are more than the {profile.input.size} pixels of "
                "input.size"
            )


def _check_probe(profile: Any, teachers: dict[str, Architecture], students: dict[str, dict[str, Architecture]]) -> None:
    if profile.probe is None:
        return
    compared, randomization = profile.attribute.compared.students, profile.probe.randomization
    named = [layers for of in students.values() for name, layers in of.items() if name in compared]
    for layer in profile.probe.layers.names:
        if any(layer not in layers.layer_names for layers in (*teachers.values(), *named)):
            raise ValueError(f"probe.layers.names: {layer} is no layer of the teacher and of every compared student")
    if missing := [name for name in randomization.of_students if name not in randomization.methods]:
        raise ValueError(f"probe.randomization.of_students: {missing[0]} is not among probe.randomization.methods")
    for name in randomization.methods:
        if name not in profile.attribute.methods:
            raise ValueError(f"probe.randomization.methods: attribute.methods has no {name}")
        if METHODS[profile.attribute.methods[name].maps].knows_training:
            raise ValueError(f"probe.randomization.methods: {name} rests on statistics of the trained network")


def _check_roar(profile: Any) -> None:
    roar = profile.roar
    if unknown := [name for name in roar.students if name not in profile.distill.students]:
        raise ValueError(f"roar.students: distill has no student {unknown[0]}")
    trained = methods_trained_by(profile, "distill")
    if roar.students and (unknown := [name for name in roar.methods if name not in trained]):
        raise ValueError(f"roar.methods: {unknown[0]} is no method that distill trains")
    if unknown := [name for name in roar.methods if name not in profile.evaluate.methods]:
        raise ValueError(f"roar.methods: {unknown[0]} is none of evaluate.methods, which figures show")
    shape = Shape(architecture=roar.classifier.architecture, width_divisor=roar.classifier.width_divisor)
    try:
        _layers("roar.classifier", shape).map_sizes(roar.classifier.size or profile.input.size)
    except UserError as error:
        raise ValueError(f"roar.classifier: {error}") from None


def _check_shares(profile: Any, students: dict[str, dict[str, Architecture]]) -> None:
    """The processes must be able to share every batch, and batch normalisation must be possible in each share."""
    size, classifier = profile.input.size, profile.roar.classifier
    trained = {
        compression: {f"{compression}.students.{name}": (layers, size) for name, layers in of_it.items()}
        for compression, of_it in students.items()
        if runs(profile, compression)
    }
    trained["teacher"] = {
        f"teacher.networks.{name}": (narrowed(network.architecture, network.width_divisor), size)
        for name, network in profile.teacher.networks.items()
    }
    if profile.roar.students:
        network = narrowed(classifier.architecture, classifier.width_divisor)
        trained["roar"] = {"roar.classifier": (network, classifier.size or size)}
    for key, schedule in schedules(profile):
        if key in trained:
            check_share(key, schedule, profile.runtime.devices * profile.runtime.nodes, trained[key])


def _check_matched(
    where: str, matching: MatchingSettings, student: Architecture, teacher: Architecture, size: int
) -> None:
    if not isinstance(matching, LayerSettings):
        return
    sizes = student.map_sizes(size), teacher.map_sizes(size)
    names = [matching.layers] * 2 if matching.layers else [[shape.last_layer] for shape in (student, teacher)]
    for ours, theirs in zip(*names, strict=True):
        for name, there, whose in ((ours, sizes[0], "student"), (theirs, sizes[1], "teacher")):
            if name not in there:
                raise ValueError(f"{where}: layers: the {whose} has no layer {name}; it has {', '.join(there)}")
        if sizes[0][ours] != sizes[1][theirs]:
            raise ValueError(
                f"{where}: the student's map at {ours} has a side of {sizes[0][ours]}, the teacher's {sizes[1][theirs]}"
            )
        if reason := LOSSES[matching.maps].refuses(matching, teacher.channels[theirs]):
            raise ValueError(f"{where}: {reason}")
