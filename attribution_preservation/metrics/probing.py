"""What a network makes of changed images, how alike its layers are to another's, and what its maps owe to training."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from attribution_preservation.attribution.pairs import spread
from attribution_preservation.data.inputs import Pairs
from attribution_preservation.metrics.catalogue import at, columns
from attribution_preservation.metrics.comparisons import CONTRASTS
from attribution_preservation.metrics.corruption import noise_scores
from attribution_preservation.metrics.probe_settings import Probe
from attribution_preservation.metrics.removal import contrasts, removal_scores
from attribution_preservation.metrics.representation import alike_by_image, gram, linear_cka
from attribution_preservation.metrics.scoring import Row, Scored, association, mean_rows
from attribution_preservation.metrics.similarity import cosine, rank_correlation

# What orders the pixels: the network's own map of the pair, its teacher's, its own of another image, chance.
OWN, TEACHERS, OTHERS, CHANCE = "own_grad_cam", "teachers_grad_cam", "other_images_grad_cam", "random"
TESTED = ("insertion_area", "deletion_area")  # beside contrasts, and what noise costs


@dataclass(frozen=True)
class View:
    """A network, as it is asked.

    Attributes:
        predict: logits [B, C] of images, uint8 [B, 3, S, S].
        layers: outputs [B, ...] of the compared layers by name, of such images.
        grad_cam: Grad-CAM maps, float32 [n, h, w], of the pairs at those positions, int64 [n].
        explain: maps by any method, named first.
    """

    predict: Callable[[torch.Tensor], torch.Tensor]
    layers: Callable[[torch.Tensor], dict[str, torch.Tensor]]
    grad_cam: Callable[[np.ndarray], np.ndarray]
    explain: Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Look:
    """What is seen of one network before it is compared.

    Attributes:
        logits: of all evaluation images, [N, C].
        maps: Grad-CAM of all pairs, [P, h, w].
    """

    logits: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Inside:
    """What a network does with the images whose layers are compared.

    Attributes:
        layers: how alike those images are in each layer, by name, [m, m].
        maps: Grad-CAM of their pairs, [p, h, w].
    """

    layers: dict[str, torch.Tensor]
    maps: np.ndarray


class Prober:
    """The images and questions, the same for every network.

    Args:
        settings: how much is asked.
        pairs: all scored pairs.
        images: all evaluation images, uint8 [N, 3, S, S].
        labels: 0 or 1, [N, C].
        colour: of removed pixels, uint8 [3].
    """

    def __init__(
        self, settings: Probe, pairs: Pairs, images: torch.Tensor, labels: np.ndarray, colour: torch.Tensor
    ) -> None:
        self.settings = settings
        self._pairs, self._images, self._labels, self._colour = pairs, images, labels, colour
        self._chosen = spread(len(pairs), settings.removal.pairs)
        compared = spread(len(images), settings.layers.images)
        self._of_layers = images[compared]
        # The pairs of the images whose layers are compared, and the place of each one's image among those.
        self._beside = np.flatnonzero(np.isin(pairs.image, compared))
        self._place = np.searchsorted(compared, pairs.image[self._beside])
        self._rows, first, self._row_of_pair = np.unique(pairs.image, return_index=True, return_inverse=True)
        self._masks = pairs.masks[pairs.mask_row[first]]

    def look(self, view: View) -> Look:
        """The network as it is."""
        return Look(view.predict(self._images).detach().numpy(), view.grad_cam(np.arange(len(self._pairs))))

    def predicted(self, look: Look) -> np.ndarray:
        """Which of the pairs whose pixels go a network predicts, bool [n]."""
        return look.logits[self._pairs.image[self._chosen], self._pairs.label[self._chosen]] > 0

    def inside(self, view: View) -> Inside:
        """The network's hidden layers and maps."""
        layers = {name: gram(found) for name, found in view.layers(self._of_layers).items()}
        return Inside(layers, view.grad_cam(self._beside))

    def likeness(self, network: Inside, teacher: Inside) -> Iterator[Row]:
        """Layer by layer: CKA, images that keep the same company, and whether maps move where that changes."""
        of_maps = cosine(network.maps, teacher.maps)
        for name, seen in network.layers.items():
            yield {**columns(at("cka", name)), "value": linear_cka(seen, teacher.layers[name]), "n": len(seen)}
            of_images = alike_by_image(seen, teacher.layers[name])
            yield {**columns(at("company", name)), "value": of_images.mean(), "n": len(of_images)}
            value = association(of_maps, of_images[self._place])
            yield {**columns(at("association_company", name)), "value": value, "n": len(of_maps)}

    def removal(self, view: View, look: Look, teacher: Look | None = None) -> dict[str, dict[str, np.ndarray]]:
        """Scores of the chosen pairs by what orders their pixels, and metric, [n]."""
        chosen, settings = self._chosen, self.settings.removal
        images, labels = self._images[self._pairs.image[chosen]], torch.from_numpy(self._pairs.label[chosen])
        own = look.maps[chosen]
        orders = {OWN: own} | ({TEACHERS: teacher.maps[chosen]} if teacher else {})
        orders |= {OTHERS: _of_other_images(own), CHANCE: np.zeros((len(chosen), 1, 1), dtype=np.float32)}
        found = {
            name: removal_scores(view.predict, images, labels, maps, settings.percents, self._colour, settings.seed)
            for name, maps in orders.items()
        }
        found[OWN] |= contrasts(found[OWN], {name: scores for name, scores in found.items() if name != OWN})
        return found

    def removal_rows(
        self, removal: Mapping[str, dict[str, np.ndarray]], populations: dict[str, np.ndarray], **where: str
    ) -> Iterator[Row]:
        """Means over the chosen pairs that belong to each population, bool [n]."""
        for name, scores in removal.items():
            yield from mean_rows(scores, populations, attribution=name, **where)

    def noise(self, view: View) -> tuple[list[Row], dict[str, np.ndarray]]:
        """What noise costs: rows, and of each image's average precision the points, [N], NaN where it has no mask."""
        rows, settings = self._rows, self.settings.corruption
        images, labels = self._images[rows], self._labels[rows]
        whole, of_masked = noise_scores(view.predict, images, labels, self._masks, settings.deviations, settings.seed)
        of_images = {name: np.full(len(self._images), np.nan) for name in of_masked}
        for name, values in of_masked.items():
            of_images[name][rows] = values
        means = whole | {name: float(values.mean()) for name, values in of_masked.items()}
        return [{**columns(name), "value": value, "n": len(rows)} for name, value in means.items()], of_images

    def lost_where_moved(self, of_images: Mapping[str, np.ndarray], look: Look, teacher: Look) -> Iterator[Row]:
        """Within one network, do the images whose maps moved lose more to noise? Negative where they do.

        Rank correlation over images of what noise costs with the mean cosine of the image's maps to the teacher's.
        """
        counts = np.bincount(self._row_of_pair)
        kept = np.bincount(self._row_of_pair, cosine(look.maps, teacher.maps)) / counts
        for name, values in of_images.items():
            value = association(kept, values[self._rows])
            yield {**columns(f"association_{name}"), "value": value, "n": len(self._rows)}

    def untrained(
        self, view: View, cascade: Callable[[int], Iterable[tuple[str, View]]], methods: Iterable[str]
    ) -> Iterator[Row]:
        """Rank correlation of maps with those after layers were untrained, by attribution method and layer.

        Beside it `untrained_floor`, with the trained network's map of another image. Maps without signs: one that turns
        over with its logit has not moved. A map that is the same everywhere has no rank; such ones are counted.

        Args:
            view: the network.
            cascade: from a seed to the network with more and more layers untrained, by the name of the last one.
            methods: of attribution.
        """
        settings = self.settings.randomization
        chosen = spread(len(self._pairs), settings.pairs)
        for name in methods:
            before = np.abs(view.explain(name, chosen))
            others = rank_correlation(_of_other_images(before), before)
            found: dict[str, list[np.ndarray]] = {"untrained_floor": [others]}
            flat: dict[str, int] = {}
            for draw in range(settings.draws):
                for layer, changed in cascade(settings.seed + 1000 * draw):
                    after = np.abs(changed.explain(name, chosen))
                    told = np.ptp(after, axis=(1, 2)) > 0
                    found.setdefault(at("untrained", layer), []).append(rank_correlation(after, before)[told])
                    flat_at = at("untrained_flat", layer)
                    flat[flat_at] = flat.get(flat_at, 0) + int((~told).sum())
            for metric, parts in found.items():
                values = np.concatenate(parts)
                value = values.mean() if len(values) else None
                yield {"attribution": name, **columns(metric), "value": value, "n": len(values)}
            for metric, count in flat.items():
                asked = settings.draws * len(chosen)
                yield {"attribution": name, **columns(metric), "value": count, "n": asked}

    def scored(self, removal: Mapping[str, dict[str, np.ndarray]], of_images: dict[str, np.ndarray]) -> Scored:
        """What is tested of a network."""
        tested = {
            name: {m: values for m, values in scores.items() if m in TESTED or m.startswith(CONTRASTS)}
            for name, scores in removal.items()
        }
        return Scored(np.empty((0, 0)), of_images, dict.fromkeys(removal, self._chosen), tested, {})


def _of_other_images(maps: np.ndarray) -> np.ndarray:
    """The same maps, each in the place of a pair half of them away."""
    return np.roll(maps, len(maps) // 2, axis=0)
