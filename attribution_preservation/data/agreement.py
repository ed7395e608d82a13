"""Whether the masks of a data set agree with its annotations."""

from pathlib import Path

import numpy as np

from attribution_preservation.data.splits import count, first_few
from attribution_preservation.data.voc import VOID
from attribution_preservation.errors import UserError


class Agreement:
    """Counts masks that contradict their annotation or VOC's colours, while a data set is packed.

    Args:
        folder: folder of the masks, for messages.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._scored = folder, 0
        self.doubtful: list[str] = []

    def add(self, name: str, mask: np.ndarray, agrees: bool) -> None:
        """Count a mask, uint8 [H, W]. A mask with only background and void is not counted."""
        self._scored += not agrees or bool(np.setdiff1d(mask, [0, VOID]).size)
        self.doubtful += [] if agrees else [name]

    def notes(self) -> list[str]:
        """Sentences for readers of results, without a full stop; none if all masks agree. Call it after the last mask.

        Raises:
            UserError: no mask has a class, or all masks contradict.
        """
        if not self._scored:
            raise UserError(f"{self._folder}: no mask of Segmentation/val holds a class; add masks with classes")
        if not self.doubtful:
            return []
        if len(self.doubtful) == self._scored:
            raise UserError(
                f"{self._folder}: all masks ({self._scored}) contradict their annotations or VOC's colours, as where a "
                f"program has renumbered their palettes ({first_few(self.doubtful)}); restore them"
            )
        of = f"{len(self.doubtful)} of {count(self._scored, 'image')}"
        return [f"The masks of {of} contradict their annotations or VOC's colours"]
