"""The whole of params.yaml, and what must fit together across its sections."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from attribution_preservation.attribution.extraction import Attribute
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.data.data_settings import Data, Input
from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import LayerSettings, MapSettings, MatchingSettings
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.matching.variants import MatchingEntry, methods_of
from attribution_preservation.metrics.analysis_settings import Analysis
from attribution_preservation.metrics.evaluate_settings import Evaluate
from attribution_preservation.metrics.probe_settings import Probe
from attribution_preservation.metrics.roar_settings import Roar
from attribution_preservation.models.architectures import ARCHITECTURES, Architecture, VGGShape, narrowed
from attribution_preservation.models.teacher_settings import Teacher
from attribution_preservation.optimization import Descent
from attribution_preservation.pipeline.schema.compression import (
    Distill,
    Name,
    PruneChannels,
    PruneWeights,
    Scratch,
    Shape,
)
from attribution_preservation.reporting.report_settings import Figures, Report
from attribution_preservation.settings import Section, Seed
from attribution_preservation.training.batch_sizes import check_epoch, check_share, training_images
from attribution_preservation.training.runtime_settings import Runtime

Folder = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?$")]
COMPRESSIONS = ("prune_weights", "prune_channels", "distill", "scratch")
_HIDDEN = [4096, 4096]  # of torchvision's VGG


class Folders(Section):
    """Where each stage leaves its networks, below models/GROUP; the last part is the stage's name."""

    teacher: Folder
    prune_weights: Folder
    prune_channels: Folder
    distill: Folder
    scratch: Folder


class Profile(Section):
    """A complete set of parameters, as each file in params/ holds one.

    Attributes:
        profile: its name, shown in every result.
        seed_groups: seeds by group; one stage instance does all seeds of a group. A seed is a whole run with a
            teacher of its own.
        folders: where networks lie.
        batches: first parts of `folders` that hold any; attribute and evaluate have one instance for each.
    """

    profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    runtime: Runtime
    seed_groups: Annotated[dict[Name, Annotated[list[Seed], Field(min_length=1)]], Field(min_length=1)]
    folders: Folders
    batches: Annotated[list[Name], Field(min_length=1)]
    data: Data
    input: Input
    teacher: Teacher
    matching: dict[Name, MatchingEntry]
    prune_weights: PruneWeights
    prune_channels: PruneChannels
    distill: Distill
    scratch: Scratch
    attribute: Attribute
    evaluate: Evaluate
    probe: Probe | None
    analysis: Analysis
    roar: Roar
    report: Report
    figures: Figures

    @model_validator(mode="after")
    def _fits_together(self) -> "Profile":
        seeds = [seed for group in self.seed_groups.values() for seed in group]
        if len(seeds) != len(set(seeds)):
            raise ValueError("seed_groups: a seed stands there twice; every seed is one run")
        self._check_folders()
        self._check_listed()
        self._check_exclusive()
        self._check_matchings()
        for key, schedule in self._schedules():
            check_epoch(key, schedule, training_images(self.data))
        for key, snapshots, epochs in self._snapshots():
            if late := [epoch for epoch in snapshots if epoch >= epochs]:
                raise ValueError(f"{key}.snapshots: {late[0]} is not before the last epoch, which is always kept")
        try:
            self._check_shapes()
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    def _schedules(self) -> Iterator[tuple[str, Descent]]:
        for key in ("teacher", *COMPRESSIONS, "roar"):
            if schedule := getattr(self, key).optimization:
                yield key, schedule

    def _snapshots(self) -> Iterator[tuple[str, list[int], int]]:
        yield "distill", self.distill.snapshots, self.distill.optimization.epochs
        for name, steps in self.prune_weights.students.items():
            yield f"prune_weights.students.{name}", steps.snapshots, steps.epochs

    def _check_folders(self) -> None:
        holding = set()
        for stage in ("teacher", *COMPRESSIONS):
            folder = getattr(self.folders, stage)
            if folder.split("/")[-1] != stage:
                raise ValueError(f"folders.{stage}: its last part must be {stage}")
            if stage == "teacher" or self._runs(stage):
                holding.add(folder.split("/")[0])
            if any(other.startswith(f"{folder}/") for other in dict(self.folders).values()):
                raise ValueError(f"folders.{stage}: {folder} holds another stage's folder")
        if set(self.batches) != holding or len(self.batches) != len(holding):
            raise ValueError(f"batches: these folders hold networks: {', '.join(sorted(holding))}")

    def _check_listed(self) -> None:
        """What a stage finds by its name is also among those that are tested."""
        for name, method in self.attribute.methods.items():
            if method.maps not in METHODS:
                raise ValueError(f"attribute.methods.{name}.maps: {method.maps} is missing in attribution/methods.py")

    def _check_exclusive(self) -> None:
        """What is defined for classes that do not exclude each other, and so not for ImageNet's; and the reverse."""
        if self.data.source != "imagenet":
            if self.teacher.optimization is None:
                raise ValueError(
                    "teacher.optimization: only ImageNet's classes have pretrained heads; others are trained"
                )
            return
        if self.data.checksum is not None:
            raise ValueError("data.checksum: ImageNet is a folder, only an archive has a checksum; set it to null")
        for name, method in self.attribute.methods.items():
            if METHODS[method.maps].of_probability:
                raise ValueError(
                    f"attribute.methods.{name}: explains a probability of its own, which no class here has"
                )
        if self.probe is not None:
            raise ValueError(
                "probe: asks about several classes of an image; set it to null where classes exclude others"
            )
        if self.roar.students:
            raise ValueError(
                "roar.students: retrains for several classes of an image; leave none where they exclude others"
            )

    def _runs(self, compression: str) -> bool:
        section = getattr(self, compression)
        return bool(section.students) and (compression == "scratch" or bool(section.matchings))

    def _check_matchings(self) -> None:
        methods: dict[str, MatchingSettings] = {}
        for name, entry in self.matching.items():
            for method, matching in methods_of(name, entry).items():
                if method in methods:
                    raise ValueError(f"matching: the method {method} stands there twice")
                if method in ("teacher", "random"):
                    raise ValueError(f"matching.{method}: this name stands for no method of matching; choose another")
                if matching.maps not in LOSSES:
                    raise ValueError(f"matching.{name}: {matching.maps} is missing in matching/losses.py")
                if isinstance(matching, MapSettings) and "strength" not in matching.model_fields_set:
                    raise ValueError(f"matching.{name}: {method} has no strength")
                methods[method] = matching
        for compression in COMPRESSIONS[:-1]:
            names = getattr(self, compression).matchings
            if unknown := [name for name in names if name not in self.matching]:
                raise ValueError(f"{compression}.matchings: {unknown[0]} has no entry under matching")
            if len(names) != len(set(names)):
                raise ValueError(f"{compression}.matchings: a name stands there twice")
        compared = set(self.evaluate.methods)
        trained = set()
        for compression in filter(self._runs, COMPRESSIONS[:-1]):
            found = {
                method
                for name in getattr(self, compression).matchings
                for method in methods_of(name, self.matching[name])
            }
            if not found & compared:
                raise ValueError(f"evaluate.methods: {compression}.matchings trains none of them")
            trained |= found
        if trained and (unknown := [method for method in self.evaluate.methods if method not in trained]):
            raise ValueError(f"evaluate.methods: {unknown[0]} is no method that a compression trains")

    def _check_teachers(self) -> dict[str, Architecture]:
        """The layers of every compression's teacher, which a compression names even where it does not run."""
        networks = {}
        for name, network in self.teacher.networks.items():
            shape = Shape(architecture=network.architecture, width_divisor=network.width_divisor)
            networks[name] = _layers(f"teacher.networks.{name}", shape)
            networks[name].map_sizes(self.input.size)
            if network.hidden and not isinstance(networks[name], VGGShape):
                raise ValueError(f"teacher.networks.{name}.hidden: a residual network has no hidden layers in its head")
            whole = network.init == "imagenet" and self.data.source == "imagenet"
            published = _HIDDEN if isinstance(networks[name], VGGShape) else []
            if whole and network.hidden != published:
                raise ValueError(f"teacher.networks.{name}.hidden: torchvision's network has {published}")
        found = {}
        for compression in COMPRESSIONS:
            name = getattr(self, compression).teacher
            if name not in networks:
                raise ValueError(f"{compression}.teacher: {name} is none of teacher.networks ({', '.join(networks)})")
            found[compression] = networks[name]
        used = {getattr(self, compression).teacher for compression in filter(self._runs, COMPRESSIONS)}
        if used and (idle := set(networks) - used):
            raise ValueError(f"teacher.networks: no compression that runs starts from {sorted(idle)[0]}")
        return found

    def _check_shapes(self) -> None:
        """Every mistake about layers that can be known before a network is built."""
        teachers, size = self._check_teachers(), self.input.size
        students = {"prune_weights": dict.fromkeys(self.prune_weights.students, teachers["prune_weights"])}
        students["prune_channels"] = {
            name: _thinned(f"prune_channels.students.{name}", teachers["prune_channels"], rates)
            for name, rates in self.prune_channels.students.items()
        }
        for compression in ("distill", "scratch"):
            teacher = teachers[compression]
            students[compression] = {
                name: _layers(f"{compression}.students.{name}", shape)
                for name, shape in getattr(self, compression).students.items()
            }
            for name, layers in students[compression].items():
                if wider := layers.wider_than(teacher):
                    raise ValueError(f"{compression}.students.{name}: wider than its teacher ({wider})")
                sides = [found.map_sizes(size)[found.explained_layer] for found in (layers, teacher)]
                if sides[0] != sides[1]:
                    raise ValueError(
                        f"{compression}.students.{name}: its attribution map has a side of {sides[0]}, its teacher's "
                        f"{sides[1]}; they could not be compared"
                    )
        self._check_attribution(teachers, students)
        self._check_grids()
        self._check_compared()
        self._check_probe(teachers, students)
        self._check_roar()
        self._check_shares(students)
        for compression in COMPRESSIONS[:-1]:
            for name in getattr(self, compression).matchings:
                for method, matching in methods_of(name, self.matching[name]).items():
                    for student, layers in students[compression].items():
                        where = f"matching.{method}, for {compression}.students.{student}"
                        _check_matched(where, matching, layers, teachers[compression], size)

    def _check_shares(self, students: dict[str, dict[str, Architecture]]) -> None:
        """Every batch of a training that runs can be shared, and its shares normalised."""
        size, classifier = self.input.size, self.roar.classifier
        trained = {
            compression: {f"{compression}.students.{name}": (found, size) for name, found in of_it.items()}
            for compression, of_it in students.items()
            if self._runs(compression)
        }
        trained["teacher"] = {
            f"teacher.networks.{name}": (narrowed(network.architecture, network.width_divisor), size)
            for name, network in self.teacher.networks.items()
        }
        if self.roar.students:
            network = narrowed(classifier.architecture, classifier.width_divisor)
            trained["roar"] = {"roar.classifier": (network, classifier.size or size)}
        for key, schedule in self._schedules():
            if key in trained:
                check_share(key, schedule, self.runtime.devices * self.runtime.nodes, trained[key])

    def _check_grids(self) -> None:
        """A mask's cells are no smaller than pixels: more of them cost memory and are the same mask."""
        for name, method in self.attribute.methods.items():
            if (cells := getattr(method, "cells", 0)) > self.input.size:
                raise ValueError(
                    f"attribute.methods.{name}.cells: {cells} cells are more than the {self.input.size} pixels of "
                    "input.size"
                )

    def _check_compared(self) -> None:
        """`common` must mean the same pairs wherever it is counted."""
        if missing := [name for name in self.evaluate.methods if name not in self.attribute.compared.methods]:
            raise ValueError(f"attribute.compared.methods: {missing[0]} is missing, which is among evaluate.methods")

    def _check_probe(self, teachers: dict[str, Architecture], students: dict[str, dict[str, Architecture]]) -> None:
        if self.probe is None:
            return
        compared = self.attribute.compared.students
        named = [found for of in students.values() for name, found in of.items() if name in compared]
        for layer in self.probe.layers.names:
            if any(layer not in found.layer_names for found in (*teachers.values(), *named)):
                raise ValueError(
                    f"probe.layers.names: {layer} is no layer of the teacher and of every compared student"
                )
        if missing := [m for m in self.probe.randomization.of_students if m not in self.probe.randomization.methods]:
            raise ValueError(f"probe.randomization.of_students: {missing[0]} is not among probe.randomization.methods")
        for name in self.probe.randomization.methods:
            if name not in self.attribute.methods:
                raise ValueError(f"probe.randomization.methods: attribute.methods has no {name}")
            if METHODS[self.attribute.methods[name].maps].knows_training:
                raise ValueError(f"probe.randomization.methods: {name} rests on statistics of the trained network")

    def _check_roar(self) -> None:
        if unknown := [name for name in self.roar.students if name not in self.distill.students]:
            raise ValueError(f"roar.students: distill has no student {unknown[0]}")
        trained = {m for name in self.distill.matchings for m in methods_of(name, self.matching[name])}
        if self.roar.students and (unknown := [name for name in self.roar.methods if name not in trained]):
            raise ValueError(f"roar.methods: {unknown[0]} is no method that distill trains")
        if unknown := [name for name in self.roar.methods if name not in self.evaluate.methods]:
            raise ValueError(f"roar.methods: {unknown[0]} is none of evaluate.methods, which figures show")
        shape = {key: getattr(self.roar.classifier, key) for key in ("architecture", "width_divisor")}
        try:
            _layers("roar.classifier", Shape(**shape)).map_sizes(self.roar.classifier.size or self.input.size)
        except UserError as error:
            raise ValueError(f"roar.classifier: {error}") from None

    def _check_attribution(
        self, teachers: dict[str, Architecture], students: dict[str, dict[str, Architecture]]
    ) -> None:
        compared, trained = self.attribute.compared, set()
        few, everyone = [*teachers.values()], [*teachers.values()]
        for compression in filter(self._runs, COMPRESSIONS[:-1]):
            trained |= {
                method
                for name in getattr(self, compression).matchings
                for method in methods_of(name, self.matching[name])
            }
            few += [found for name, found in students[compression].items() if name in compared.students]
            everyone += students[compression].values()
        known = {name for compression in filter(self._runs, COMPRESSIONS[:-1]) for name in students[compression]}
        if unknown := [name for name in compared.students if name not in known]:
            raise ValueError(f"attribute.compared.students: no compression trains {unknown[0]}")
        if unknown := [name for name in compared.methods if name not in trained]:
            raise ValueError(f"attribute.compared.methods: {unknown[0]} is no method that a compression trains")
        for name, method in self.attribute.methods.items():
            explained = everyone if name in self.attribute.every else few
            if reason := METHODS[method.maps].refuses(method, explained, self.input.size):
                raise ValueError(f"attribute.methods.{name}{reason}")
            if not (layer := getattr(method, "layer", None)):
                continue
            if any(layer not in found.layer_names for found in explained):
                there = ", ".join(everyone[0].layer_names)
                raise ValueError(f"attribute.methods.{name}.layer: no layer is called {layer}; there are {there}")
            sides = sorted({found.map_sizes(self.input.size)[layer] for found in explained})
            if len(sides) > 1:
                raise ValueError(
                    f"attribute.methods.{name}.layer: at {layer} some networks have a side of {sides[0]}, others of "
                    f"{sides[1]}; their maps could not be compared"
                )


def _layers(key: str, shape: Shape) -> Architecture:
    if shape.architecture not in ARCHITECTURES:
        raise ValueError(f"{key}.architecture: there is no {shape.architecture}; there are {', '.join(ARCHITECTURES)}")
    try:
        return _thinned(f"{key}.rates", narrowed(shape.architecture, shape.width_divisor), shape.rates)
    except UserError as error:
        raise ValueError(str(error) if str(error).startswith(key) else f"{key}.{error}") from None


def _thinned(key: str, layers: Architecture, rates: dict[str, float]) -> Architecture:
    try:
        return layers.thinned(rates)
    except UserError as error:
        raise UserError(f"{key}.{error}") from None


def _check_matched(
    where: str, matching: MatchingSettings, student: Architecture, teacher: Architecture, size: int
) -> None:
    if not isinstance(matching, LayerSettings):
        return
    sizes = student.map_sizes(size), teacher.map_sizes(size)
    names = [matching.layers] * 2 if matching.layers else [[found.last_layer] for found in (student, teacher)]
    for ours, theirs in zip(*names, strict=True):
        for name, found, whose in ((ours, sizes[0], "student"), (theirs, sizes[1], "teacher")):
            if name not in found:
                raise ValueError(f"{where}: layers: the {whose} has no layer {name}; it has {', '.join(found)}")
        if sizes[0][ours] != sizes[1][theirs]:
            raise ValueError(
                f"{where}: the student's map at {ours} has a side of {sizes[0][ours]}, the teacher's {sizes[1][theirs]}"
            )
        if reason := LOSSES[matching.maps].refuses(matching, teacher.channels[theirs]):
            raise ValueError(f"{where}: {reason}")
