"""Tests of a network: changed images, similarity of its layers to another network's, and maps of untrained layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from attribution_preservation.attribution.pair_images import spread
from attribution_preservation.data.inputs import Pairs
from attribution_preservation.metrics.catalogue import at, columns
from attribution_preservation.metrics.comparisons import CONTRASTS
from attribution_preservation.metrics.corruption import noise_scores
from attribution_preservation.metrics.probe_settings import Probe
from attribution_preservation.metrics.removal import contrasts, removal_scores
from attribution_preservation.metrics.representation import alike_by_image, gram, linear_cka
from attribution_preservation.metrics.scoring import Row, Scored, association, mean_rows
from attribution_preservation.metrics.similarity import cosine, rank_correlation

# Order of the pixels: by the network's own map of the pair, its teacher's map, its own map of another image, chance.
OWN, TEACHERS, OTHERS, CHANCE = "own_grad_cam", "teachers_grad_cam", "other_images_grad_cam", "random"
TESTED = ("insertion_area", "deletion_area")  # in addition to contrasts and the loss by noise


@dataclass(frozen=True)
class View:
    """Functions of a network that the tests call.

    Attributes:
        predict: from images, uint8 [B, 3, S, S], to logits [B, C].
        layers: from such images to the outputs [B, ...] of the compared layers by name.
        grad_cam: from positions of pairs, int64 [n], to their Grad-CAM maps, float32 [n, h, w].
        explain: from the name of an attribution method and such positions to maps.
    """

    predict: Callable[[torch.Tensor], torch.Tensor]
    layers: Callable[[torch.Tensor], dict[str, torch.Tensor]]
    grad_cam: Callable[[np.ndarray], np.ndarray]
    explain: Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Look:
    """Predictions and maps of one network.

    Attributes:
        logits: logits of all evaluation images, [N, C].
        maps: Grad-CAM maps of all pairs, [P, h, w].
    """

    logits: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Inside:
    """Hidden layers and maps of one network on the images whose layers are compared.

    Attributes:
        layers: similarities of the images in each layer, by name, [m, m] (see `gram`).
        maps: Grad-CAM maps of the images' pairs, [p, h, w].
    """

    layers: dict[str, torch.Tensor]
    maps: np.ndarray


class Prober:
    """The images and tests, the same for every network.

    Args:
        settings: settings of the tests.
        pairs: all scored pairs.
        images: all evaluation images, uint8 [N, 3, S, S].
        labels: 0 or 1, [N, C].
        colour: colour of removed pixels, uint8 [3].
    """

    def __init__(
        self, settings: Probe, pairs: Pairs, images: torch.Tensor, labels: np.ndarray, colour: torch.Tensor
    ) -> None:
        self.settings = settings
        self._pairs, self._images, self._labels, self._colour = pairs, images, labels, colour
        self._chosen = spread(len(pairs), settings.removal.pairs)
        compared = spread(len(images), settings.layers.images)
        self._of_layers = images[compared]
        # The pairs of the images whose layers are compared, and the index of each pair's image among those images.
        self._beside = np.flatnonzero(np.isin(pairs.image, compared))
        self._place = np.searchsorted(compared, pairs.image[self._beside])
        self._rows, first, self._row_of_pair = np.unique(pairs.image, return_index=True, return_inverse=True)
        self._masks = pairs.masks[pairs.mask_row[first]]

    def look(self, view: View) -> Look:
        """The network's logits and maps of the unchanged images."""
        return Look(view.predict(self._images).detach().numpy(), view.grad_cam(np.arange(len(self._pairs))))

    def predicted(self, look: Look) -> np.ndarray:
        """Whether a network predicts each of the pairs whose pixels are removed, bool [n]."""
        return look.logits[self._pairs.image[self._chosen], self._pairs.label[self._chosen]] > 0

    def inside(self, view: View) -> Inside:
        """The network's hidden layers and maps."""
        layers = {name: gram(features) for name, features in view.layers(self._of_layers).items()}
        return Inside(layers, view.grad_cam(self._beside))

    def likeness(self, network: Inside, teacher: Inside) -> Iterator[Row]:
        """For each layer: CKA, similarity of neighbours, and its rank correlation with the cosine of maps."""
        of_maps = cosine(network.maps, teacher.maps)
        for name, seen in network.layers.items():
            yield {**columns(at("cka", name)), "value": linear_cka(seen, teacher.layers[name]), "n": len(seen)}
            of_images = alike_by_image(seen, teacher.layers[name])
            yield {**columns(at("company", name)), "value": of_images.mean(), "n": len(of_images)}
            value = association(of_maps, of_images[self._place])
            yield {**columns(at("association_company", name)), "value": value, "n": len(of_maps)}

    def removal(self, view: View, look: Look, teacher: Look | None = None) -> dict[str, dict[str, np.ndarray]]:
        """Scores of the chosen pairs by the order of their pixels and by metric, [n]."""
        chosen, settings = self._chosen, self.settings.removal
        images, labels = self._images[self._pairs.image[chosen]], torch.from_numpy(self._pairs.label[chosen])
        own = look.maps[chosen]
        orders = {OWN: own} | ({TEACHERS: teacher.maps[chosen]} if teacher else {})
        orders |= {OTHERS: _of_other_images(own), CHANCE: np.zeros((len(chosen), 1, 1), dtype=np.float32)}
        by_order = {
            name: removal_scores(view.predict, images, labels, maps, settings.percents, self._colour, settings.seed)
            for name, maps in orders.items()
        }
        by_order[OWN] |= contrasts(by_order[OWN], {name: scores for name, scores in by_order.items() if name != OWN})
        return by_order

    def removal_rows(
        self, removal: Mapping[str, dict[str, np.ndarray]], populations: dict[str, np.ndarray], **where: str
    ) -> Iterator[Row]:
        """Rows of the means over the chosen pairs of each population, bool [n]."""
        for name, scores in removal.items():
            yield from mean_rows(scores, populations, attribution=name, **where)

    def noise(self, view: View) -> tuple[list[Row], dict[str, np.ndarray]]:
        """Rows of the loss by noise, and each image's loss of average precision, [N], NaN if the image has no mask."""
        rows, settings = self._rows, self.settings.corruption
        images, labels = self._images[rows], self._labels[rows]
        whole, of_masked = noise_scores(view.predict, images, labels, self._masks, settings.deviations, settings.seed)
        of_images = {name: np.full(len(self._images), np.nan) for name in of_masked}
        for name, values in of_masked.items():
            of_images[name][rows] = values
        means = whole | {name: float(values.mean()) for name, values in of_masked.items()}
        return [{**columns(name), "value": value, "n": len(rows)} for name, value in means.items()], of_images

    def lost_where_moved(self, of_images: Mapping[str, np.ndarray], look: Look, teacher: Look) -> Iterator[Row]:
        """Whether, within one network, the images whose maps changed lose more by noise. Negative if they do.

        It is the rank correlation, over images, of the loss by noise and the mean cosine of an image's maps to the
        teacher's maps.
        """
        counts = np.bincount(self._row_of_pair)
        kept = np.bincount(self._row_of_pair, cosine(look.maps, teacher.maps)) / counts
        for name, values in of_images.items():
            value = association(kept, values[self._rows])
            yield {**columns(f"association_{name}"), "value": value, "n": len(self._rows)}

    def untrained(
        self, view: View, cascade: Callable[[int], Iterable[tuple[str, View]]], methods: Iterable[str]
    ) -> Iterator[Row]:
        """Rank correlation of maps before and after layers are replaced by untrained ones, by method and layer.

        `untrained_floor` is the rank correlation with the trained network's map of another image. Maps are compared by
        absolute value: a map that changes sign with its logit counts as unchanged. Constant maps have no ranks. They
        are left out and counted.

        Args:
            view: the network.
            cascade: function from a seed to networks with ever more untrained layers, with the name of the layer that
                was replaced last.
            methods: attribution methods.
        """
        settings = self.settings.randomization
        chosen = spread(len(self._pairs), settings.pairs)
        for name in methods:
            before = np.abs(view.explain(name, chosen))
            others = rank_correlation(_of_other_images(before), before)
            correlations: dict[str, list[np.ndarray]] = {"untrained_floor": [others]}
            flat: dict[str, int] = {}
            for draw in range(settings.draws):
                for layer, changed in cascade(settings.seed + 1000 * draw):
                    after = np.abs(changed.explain(name, chosen))
                    ranked = np.ptp(after, axis=(1, 2)) > 0
                    correlations.setdefault(at("untrained", layer), []).append(rank_correlation(after, before)[ranked])
                    flat_at = at("untrained_flat", layer)
                    flat[flat_at] = flat.get(flat_at, 0) + int((~ranked).sum())
            for metric, parts in correlations.items():
                values = np.concatenate(parts)
                value = values.mean() if len(values) else None
                yield {"attribution": name, **columns(metric), "value": value, "n": len(values)}
            for metric, count in flat.items():
                total = settings.draws * len(chosen)
                yield {"attribution": name, **columns(metric), "value": count, "n": total}

    def scored(self, removal: Mapping[str, dict[str, np.ndarray]], of_images: dict[str, np.ndarray]) -> Scored:
        """The scores of a network that enter significance tests."""
        tested = {
            name: {m: values for m, values in scores.items() if m in TESTED or m.startswith(CONTRASTS)}
            for name, scores in removal.items()
        }
        return Scored(np.empty((0, 0)), of_images, dict.fromkeys(removal, self._chosen), tested, {})


def _of_other_images(maps: np.ndarray) -> np.ndarray:
    """The same maps, shifted by half of the pairs, so that each pair has the map of another pair."""
    return np.roll(maps, len(maps) // 2, axis=0)
