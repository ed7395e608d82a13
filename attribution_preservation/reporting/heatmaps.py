"""Grids of pictures with heat maps drawn over them, one column per network, as in the supplement's Figures 1 and 2."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from attribution_preservation.drawing import blank_figure, default_settings, write_figure
from attribution_preservation.metrics.similarity import cosine


@dataclass(frozen=True)
class HeatmapRow:
    """One (image, class) pair.

    Attributes:
        title: what is explained, above the picture.
        image: uint8 [S, S, 3].
        mask: where the class is, bool [S, S].
        maps: by network, each [h, w], not negative; the first is the teacher's.
    """

    title: str
    image: np.ndarray
    mask: np.ndarray
    maps: dict[str, np.ndarray]


@default_settings()
def draw_heatmaps(rows: list[HeatmapRow], path: Path) -> None:
    """A grid: picture with the object's outline, then each network's map over the grey picture.

    Each map is scaled by its own maximum; the number above is its cosine to the teacher's.
    """
    names = list(rows[0].maps)
    figure = blank_figure(1.7 * (1 + len(names)), 1.85 * len(rows))
    panels = figure.subplots(len(rows), 1 + len(names), squeeze=False)
    for line, row in zip(panels, rows, strict=True):
        line[0].imshow(row.image)
        line[0].contour(row.mask, levels=[0.5], colors="#00FFFF", linewidths=1)
        line[0].set_title(row.title, fontsize=8)
        grey = row.image.mean(axis=2)
        teacher = row.maps[names[0]]
        for panel, name in zip(line[1:], names, strict=True):
            values = row.maps[name]
            panel.imshow(grey, cmap="gray", vmin=0, vmax=255)
            panel.imshow(_enlarge(values, len(grey)), cmap="inferno", alpha=0.6, vmin=0, vmax=1)
            panel.contour(row.mask, levels=[0.5], colors="#00FFFF", linewidths=0.7)
            similarity = cosine(values[None], teacher[None])[0]
            panel.set_title(name if name == names[0] else f"{name}  cos {similarity:.2f}", fontsize=8)
        for panel in line:
            panel.set_axis_off()
    write_figure(figure, path)


def _enlarge(values: np.ndarray, size: int) -> np.ndarray:
    peak = values.max()
    scaled = torch.from_numpy(values / peak if peak > 0 else values)
    return F.interpolate(scaled[None, None], size=(size, size), mode="bilinear", align_corners=False)[0, 0].numpy()
