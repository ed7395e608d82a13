"""Stage probe: predictions on changed images, likeness of layers, and maps of networks with untrained layers.

It probes the students that every method explains (`attribute.compared`) and their teachers. It removes the least and
the most important pixels, in the order of the network's own maps, its teacher's, another image's, and by chance. It
adds noise to background and objects. It explains networks whose layers were untrained. And it compares the hidden
layers of every pruning iteration with the teacher's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from attribution_preservation.attribution.extraction import Attribute, Compared
from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.method import Attribution, import_libraries
from attribution_preservation.attribution.randomization import cascade
from attribution_preservation.data.evaluation import EvaluationSet
from attribution_preservation.data.framing import Input
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.probe_settings import Probe
from attribution_preservation.metrics.probing import Inside, Look, Prober, View
from attribution_preservation.metrics.scored_files import write_scored
from attribution_preservation.metrics.scoring import Row, Scored
from attribution_preservation.models.network import Network
from attribution_preservation.models.network_files import load_network
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.jobs import each
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.files import atomic_directory, write_text
from attribution_preservation.storage.identity import Identity, by_level, networks_below
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime

REMEDY = "run the stages that train networks first"
WRITTEN = ("compression", "seed", "metric", "value")  # columns that every file of results has


def main(stage: Stage) -> str:
    """Ask the networks of one group of seeds."""
    if stage.parameters("probe") is None:
        with atomic_directory(stage.only_out) as folder:
            write_text(folder / "results.csv", ",".join(WRITTEN) + "\n")
        return f"nothing is asked (probe: null in params.yaml); {stage.only_out} is empty"
    probing, compared = _Probing(stage), stage.parameters("evaluate.methods")
    models = stage.dep(Path("models", stage.axes["group"]))
    files = networks_below(models, REMEDY)
    students = _students(files, probing.compared)
    teachers = {identity.full_network: identity for identity in files if identity.compression == "teacher"}
    orphans = [files[identity] for identity in students if identity.full_network not in teachers]
    if orphans or not teachers:
        whose = f" of {orphans[0]}" if orphans else ""
        raise UserError(f"{models} lacks the teacher{whose}; {REMEDY}")
    with atomic_directory(stage.only_out) as folder:

        def keep(identity: Identity, scored: Scored) -> None:
            write_scored(folder / "pairs" / files[identity].relative_to(models), identity, scored)

        def ask_teacher(teacher: Identity, known: Known, stranger: Identity) -> list[Row]:
            strange = files[stranger] if stranger != teacher else None
            figures = probing.teacher(files[teacher], known, strange, partial(keep, teacher))
            return [{**teacher.level, "seed": teacher.seed, **row} for row in figures]

        def ask_students(level: dict[str, Any], seed: int, known: Known, networks: dict[Identity, Path]) -> list[Row]:
            last = [identity for identity in networks if students[identity]]
            figures = probing.students(networks, last, known, compared, keep)
            return [{**level, "seed": seed, **row} for row in figures]

        pieces: list[Callable[[], list[Row]]] = []
        for (name, seed), teacher in sorted(teachers.items()):
            known = probing.known(files[teacher])
            # Networks that share nothing but the data: what likeness comes to by that alone.
            seeds = sorted(other for of, other in teachers if of == name)
            stranger = teachers[name, seeds[(seeds.index(seed) + 1) % len(seeds)]]
            pieces.append(partial(ask_teacher, teacher, known, stranger))
            of_teacher = [identity for identity in students if identity.full_network == (name, seed)]
            for level, members in by_level(sorted(of_teacher, key=lambda identity: identity.method)):
                networks = {identity: files[identity] for identity in members}
                pieces.append(partial(ask_students, level, seed, known, networks))
        progress = Progress(len(pieces), "probes", unit="level")
        rows = [row for piece in each(pieces, probing.jobs, done=lambda _: progress.advance(1)) for row in piece]
        pd.DataFrame(rows).to_csv(folder / "results.csv", index=False, lineterminator="\n", float_format="%.10g")
        progress.close()
    return f"{len(rows)} figures of {len(students) + len(teachers)} networks in {stage.only_out}"


@dataclass(frozen=True)
class Known:
    """What is known of a teacher before its students are asked.

    Attributes:
        look: it as it is.
        inside: its layers.
        predicted: which of the pairs whose pixels go it predicts, bool [n].
        removal: its scores by what orders the pixels.
    """

    look: Look
    inside: Inside
    predicted: np.ndarray
    removal: dict[str, dict[str, np.ndarray]]


class _Probing:
    """Networks brought to the questions."""

    def __init__(self, stage: Stage) -> None:
        self._settings, attribute = stage.section("probe", Probe), stage.section("attribute", Attribute)
        self.compared, self._methods = attribute.compared, attribute.methods
        framing = stage.section("input", Input)
        device = set_up(stage.section("runtime", Runtime))
        self._device, self.jobs = device.torch, device.jobs
        import_libraries(self._methods[name] for name in self._settings.randomization.methods)
        self._normalize = Normalize(framing.mean, framing.std)
        evaluation = EvaluationSet(Store(stage.dep(Path("data/dataset"))), framing)
        self._pairs, self._images = evaluation.pairs, evaluation.images()
        colour = (255 * torch.tensor(framing.mean)).round().to(torch.uint8)
        self._prober = Prober(self._settings, self._pairs, self._images, evaluation.labels, colour)

    def known(self, file: Path) -> Known:
        """The answers of a teacher that its students' probes need."""
        view, prober = self._view(self._load(file)), self._prober
        look = prober.look(view)
        return Known(look, prober.inside(view), prober.predicted(look), prober.removal(view, look))

    def teacher(self, file: Path, known: Known, stranger: Path | None, keep: Callable[[Scored], None]) -> Iterator[Row]:
        """Rows of a teacher, alone and compared with a teacher that shares only the data with it."""
        network = self._load(file)
        view, prober = self._view(network), self._prober
        populations = {"own": known.predicted, "all": np.ones_like(known.predicted)}
        yield from prober.removal_rows(known.removal, populations)
        noise, of_images = prober.noise(view)
        yield from noise
        keep(prober.scored(known.removal, of_images))
        yield from prober.untrained(view, partial(self._untrained, network), self._settings.randomization.methods)
        if stranger:
            yield from prober.likeness(prober.inside(self._view(self._load(stranger))), known.inside)

    def students(
        self,
        files: Mapping[Identity, Path],
        last: list[Identity],
        known: Known,
        compared: list[str],
        keep: Callable[[Identity, Scored], None],
    ) -> Iterator[Row]:
        """Rows of the networks of one level; only the last networks of their students have all probes.

        Args:
            files: by identity.
            last: which of them are asked everything.
            known: of their teacher.
            compared: methods whose networks all have to predict a pair that is `common`.
            keep: keeps what is tested.
        """
        networks = {identity: self._load(file) for identity, file in files.items()}
        for identity, network in networks.items():
            for row in self._prober.likeness(self._prober.inside(self._view(network)), known.inside):
                yield {"method": identity.method or None, **row}
        if not last:
            return
        looks = {identity: self._prober.look(self._view(networks[identity])) for identity in last}
        predicted = {identity: self._prober.predicted(look) for identity, look in looks.items()}
        deciding = [logits for identity, logits in predicted.items() if identity.method in compared]
        common = np.logical_and.reduce([known.predicted, *(deciding or predicted.values())])
        yield from self._prober.removal_rows(known.removal, {"common": common}, method="teacher")
        for identity, look in looks.items():
            populations = {"own": predicted[identity], "common": common, "all": np.ones_like(common)}
            for row in self._student(networks[identity], look, known.look, populations, partial(keep, identity)):
                yield {"method": identity.method or None, **row}

    def _student(
        self,
        network: Network,
        look: Look,
        teacher: Look,
        populations: dict[str, np.ndarray],
        keep: Callable[[Scored], None],
    ) -> Iterator[Row]:
        view, prober = self._view(network), self._prober
        removal = prober.removal(view, look, teacher)
        yield from prober.removal_rows(removal, populations)
        noise, of_images = prober.noise(view)
        yield from noise
        yield from prober.lost_where_moved(of_images, look, teacher)
        keep(prober.scored(removal, of_images))
        yield from prober.untrained(view, partial(self._untrained, network), self._settings.randomization.of_students)

    def _load(self, path: Path) -> Network:
        return load_network(path)[0].to(self._device, memory_format=torch.channels_last)

    def _untrained(self, network: Network, seed: int) -> Iterator[tuple[str, View]]:
        for layer, changed in cascade(network, seed):
            yield layer, self._view(changed)

    def _view(self, network: Network) -> View:
        def predict(images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return torch.cat([network(self._normalized(part)).cpu() for part in self._split(images)])

        def layers(images: torch.Tensor) -> dict[str, torch.Tensor]:
            names = self._settings.layers.names
            with torch.no_grad():
                parts = [network.features(self._normalized(part), names) for part in self._split(images)]
            return {name: torch.cat([part[name].cpu() for part in parts]) for name in names}

        def explain(name: str, chosen: np.ndarray) -> np.ndarray:
            return self._maps(Attribution(self._methods[name], network, self._images[:0]), network, chosen)

        return View(predict, layers, lambda chosen: self._maps(grad_cam, network, chosen), explain)

    def _maps(self, explain: Callable[..., torch.Tensor], network: Network, chosen: np.ndarray) -> np.ndarray:
        maps = []
        for part in self._split(torch.from_numpy(chosen)):
            image, label = (torch.from_numpy(of[part.numpy()]) for of in (self._pairs.image, self._pairs.label))
            maps.append(explain(network, self._normalized(self._images[image]), label.to(self._device)).cpu())
        return torch.cat(maps).numpy()

    def _split(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images.split(self._settings.batch_size)

    def _normalized(self, images: torch.Tensor) -> torch.Tensor:
        return self._normalize(images.to(self._device))


def _students(files: Mapping[Identity, Path], compared: Compared) -> dict[Identity, bool]:
    """The students that are compared, at the end of every step, and whether it is their last."""
    ends: dict[Identity, Identity] = {}
    for identity in sorted(files, key=lambda identity: identity.step):
        if identity.student in compared.students and identity.method in compared.methods:
            ends[replace(identity, epoch=None)] = identity
    last = {replace(identity, iteration=0, epoch=None): identity for identity in ends.values()}
    return {identity: identity in last.values() for identity in ends.values()}


if __name__ == "__main__":
    run("probe", main)
