"""Stage probe: what networks make of changed images, how alike their layers are, and what maps owe to training.

Of the students that are explained by every method (`attribute.compared`) and of their teachers: removal of the least
and of the most important pixels, by the network's own maps, by its teacher's and by chance; noise in background and
objects; of every pruning iteration the likeness of hidden layers; of teachers, maps after layers were untrained.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.methods import Attribution
from attribution_preservation.attribution.pairs import spread
from attribution_preservation.attribution.randomization import cascade
from attribution_preservation.data.inputs import Normalize, Pairs, evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.metrics.corruption import noise_scores
from attribution_preservation.metrics.removal import removal_scores
from attribution_preservation.metrics.representation import gram, linear_cka
from attribution_preservation.metrics.scoring import Row, Scored, mean_rows
from attribution_preservation.metrics.similarity import rank_correlation
from attribution_preservation.models.files import load_network
from attribution_preservation.models.network import Network
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Identity, network_files
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_description, write_tensors
from attribution_preservation.pipeline.schema.attribute import Attribute, Compared
from attribution_preservation.pipeline.schema.data import Input
from attribution_preservation.pipeline.schema.probe import Probe
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.training.runtime import set_up

REMEDY = "run the stages that train networks first"
OWN, TEACHERS, CHANCE = "own_grad_cam", "teachers_grad_cam", "random"  # what orders the pixels
TESTED = ("insertion_area", "deletion_area")  # beside what noise costs
Predict = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Look:
    """What is seen of one network before it is compared.

    Attributes:
        logits: of all evaluation images, [N, C].
        maps: Grad-CAM of the chosen pairs, [n, h, w].
    """

    logits: np.ndarray
    maps: np.ndarray


class _Prober:
    """The images and questions, the same for every network."""

    def __init__(self, stage: Stage) -> None:
        self.settings, self.attribute = stage.section("probe", Probe), stage.section("attribute", Attribute)
        shown = stage.section("input", Input)
        self._device = set_up(stage.section("runtime", Runtime)).torch
        self._normalize = Normalize(shown.mean, shown.std)
        self._colour = (255 * torch.tensor(shown.mean)).round().to(torch.uint8)
        store = Store(stage.dep(Path("data/dataset")))
        positions = store.part("val")
        self._pairs: Pairs = scored_pairs(store, positions, shown.size)
        self._images = evaluation_images(store, positions, shown.size)
        self._labels = store.labels(positions)
        self._chosen = spread(len(self._pairs), self.settings.removal.pairs)
        self._of_layers = self._images[spread(len(positions), self.settings.layers.images)]
        rows, first = np.unique(self._pairs.image, return_index=True)
        self._rows, self._masks = rows, self._pairs.masks[self._pairs.mask_row[first]]

    @property
    def masked(self) -> int:
        """How many evaluation images have a mask."""
        return len(self._rows)

    def load(self, path: Path) -> Network:
        """A network where it is asked."""
        return load_network(path)[0].to(self._device, memory_format=torch.channels_last)

    def predicted(self, look: _Look) -> np.ndarray:
        """Which of the chosen pairs a network predicts, bool [n]."""
        return look.logits[self._pairs.image[self._chosen], self._pairs.label[self._chosen]] > 0

    def look(self, network: Network) -> _Look:
        """The network as it is."""
        return _Look(self._predict(network)(self._images).numpy(), self._grad_cam(network))

    def layers(self, network: Network) -> dict[str, torch.Tensor]:
        """How alike images are in each layer, by name, [m, m]."""
        names = self.settings.layers.names
        with torch.no_grad():
            parts = [network.features(self._shown(part), names) for part in self._split(self._of_layers)]
        return {name: gram(torch.cat([part[name].cpu() for part in parts])) for name in names}

    def removal(self, network: Network, orders: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """Scores of the chosen pairs by what orders their pixels, and metric, [n]."""
        chosen, settings = self._chosen, self.settings.removal
        images, labels = self._images[self._pairs.image[chosen]], torch.from_numpy(self._pairs.label[chosen])
        predict = self._predict(network)
        return {
            name: removal_scores(predict, images, labels, maps, settings.percents, self._colour, settings.seed)
            for name, maps in orders.items()
        }

    def noise(self, network: Network) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """What noise costs: points of mAP, and of each image's average precision, [N], NaN where it has no mask."""
        rows, settings = self._rows, self.settings.corruption
        whole, of_masked = noise_scores(
            self._predict(network),
            self._images[rows],
            self._labels[rows],
            self._masks,
            settings.deviations,
            settings.seed,
        )
        of_images = {name: np.full(len(self._images), np.nan) for name in of_masked}
        for name, values in of_masked.items():
            of_images[name][rows] = values
        return whole, of_images

    def untrained(self, network: Network) -> Iterator[Row]:
        """Rank correlation of maps with those after layers were untrained, by attribution method and layer."""
        settings = self.settings.randomization
        chosen = spread(len(self._pairs), settings.pairs)
        for name in settings.methods:
            before = self._maps(name, network, chosen)
            for layer, changed in cascade(network, settings.seed):
                # Without signs: a map that turns over with its logit has not moved.
                values = rank_correlation(np.abs(self._maps(name, changed, chosen)), np.abs(before))
                yield {"attribution": name, "metric": f"untrained_{layer}", "value": values.mean(), "n": len(values)}

    def scored(self, removal: dict[str, dict[str, np.ndarray]], of_images: dict[str, np.ndarray]) -> Scored:
        """What the stage analysis tests."""
        tested = {name: {metric: scores[metric] for metric in TESTED} for name, scores in removal.items()}
        return Scored(np.empty((0, 0)), of_images, dict.fromkeys(removal, self._chosen), tested, {})

    def _maps(self, name: str, network: Network, chosen: np.ndarray) -> np.ndarray:
        ask = Attribution(self.attribute.methods[name], network, self._images[:0])
        found = []
        for part in self._split(torch.from_numpy(chosen)):
            image, label = (torch.from_numpy(of[part.numpy()]) for of in (self._pairs.image, self._pairs.label))
            found.append(ask(network, self._shown(self._images[image]), label.to(self._device)).cpu())
        return torch.cat(found).numpy()

    def _grad_cam(self, network: Network) -> np.ndarray:
        image, label = (torch.from_numpy(of[self._chosen]) for of in (self._pairs.image, self._pairs.label))
        size = self.settings.batch_size
        parts = zip(image.split(size), label.split(size), strict=True)
        maps = [grad_cam(network, self._shown(self._images[rows]), c.to(self._device)).cpu() for rows, c in parts]
        return torch.cat(maps).numpy()

    def _predict(self, network: Network) -> Predict:
        def predict(images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return torch.cat([network(self._shown(part)).cpu() for part in self._split(images)])

        return predict

    def _split(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images.split(self.settings.batch_size)

    def _shown(self, images: torch.Tensor) -> torch.Tensor:
        return self._normalize(images.to(self._device))


def main(stage: Stage) -> str:
    """Ask the networks of one group of seeds."""
    prober, compared = _Prober(stage), stage.parameters("evaluate.methods")
    models = stage.dep(Path("models", stage.axes["group"]))
    files = {Identity(**read_description(path, REMEDY)["identity"]): path for path in network_files(models)}
    students = _students(files, prober.attribute.compared)
    teachers = {identity.seed: identity for identity in files if identity.compression == "teacher"}
    progress = Progress(len(students) + len(teachers), "probes", unit="network")
    parent = Parent()
    rows: list[Row] = []
    with atomic_directory(stage.out) as partial:

        def keep(identity: Identity, scored: Scored) -> None:
            file = partial / "pairs" / files[identity].relative_to(models)
            arrays = {name: torch.tensor(values) for name, values in scored.arrays().items()}
            write_tensors(file, arrays, {"identity": identity.as_dict()})

        for seed, teacher in sorted(teachers.items()):
            parent.check()
            network = prober.load(files[teacher])
            look, layers = prober.look(network), prober.layers(network)
            populations = {"own": prober.predicted(look), "all": np.ones(len(look.maps), dtype=bool)}
            found, scored = _answers(prober, network, {OWN: look.maps}, populations)
            rows += [{**teacher.level, "seed": seed, **row} for row in found]
            rows += [{**teacher.level, "seed": seed, **row} for row in prober.untrained(network)]
            keep(teacher, scored)
            progress.advance(1)
            of_seed = sorted((s for s in students if s.seed == seed), key=lambda s: (s.compression, s.student, s.step))
            for level, members in groupby(of_seed, key=lambda identity: identity.level):
                networks = {identity: prober.load(files[identity]) for identity in members}
                for identity, network in networks.items():
                    parent.check()
                    where = {**level, "seed": seed, "method": identity.method or None}
                    for name, seen in prober.layers(network).items():
                        alike = linear_cka(seen, layers[name])
                        rows.append({**where, "metric": f"cka_{name}", "value": alike, "n": len(seen)})
                last = {identity: network for identity, network in networks.items() if students[identity]}
                looks = {identity: prober.look(network) for identity, network in last.items()}
                predicted = {identity: prober.predicted(seen) for identity, seen in looks.items()}
                deciding = [found for identity, found in predicted.items() if identity.method in compared]
                common = np.logical_and.reduce([prober.predicted(look), *(deciding or predicted.values())])
                for identity, network in last.items():
                    parent.check()
                    orders = {OWN: looks[identity].maps, TEACHERS: look.maps}
                    populations = {"own": predicted[identity], "common": common, "all": np.ones_like(common)}
                    found, scored = _answers(prober, network, orders, populations)
                    rows += [{**level, "seed": seed, "method": identity.method or None, **row} for row in found]
                    keep(identity, scored)
                progress.advance(len(networks))
        pd.DataFrame(rows).to_csv(partial / "results.csv", index=False, lineterminator="\n", float_format="%.10g")
    progress.close()
    return f"{len(rows)} figures of {len(students) + len(teachers)} networks in {stage.out}"


def _students(files: Mapping[Identity, Path], compared: Compared) -> dict[Identity, bool]:
    """The students that are compared, at the end of every step, and whether it is their last."""
    ends: dict[Identity, Identity] = {}
    for identity in sorted(files, key=lambda found: found.step):
        if identity.student in compared.students and identity.method in compared.methods:
            ends[replace(identity, epoch=None)] = identity
    last = {replace(identity, iteration=0, epoch=None): identity for identity in ends.values()}
    return {identity: identity in last.values() for identity in ends.values()}


def _answers(
    prober: _Prober, network: Network, orders: Mapping[str, np.ndarray], populations: dict[str, np.ndarray]
) -> tuple[list[Row], Scored]:
    """Removal and noise: rows, and what the stage analysis tests."""
    chance = np.zeros((len(next(iter(orders.values()))), 1, 1), dtype=np.float32)  # all pixels alike
    removal = prober.removal(network, {**orders, CHANCE: chance})
    whole, of_images = prober.noise(network)
    rows = [row for name, scores in removal.items() for row in mean_rows(scores, populations, attribution=name)]
    rows += [{"metric": metric, "value": value, "n": prober.masked} for metric, value in whole.items()]
    for metric, values in of_images.items():
        rows.append({"metric": metric, "value": float(np.nanmean(values)), "n": prober.masked})
    return rows, prober.scored(removal, of_images)


if __name__ == "__main__":
    run("probe", main)
