"""Training images: a random subset in random order, each changed at random, all of it from derived seeds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from attribution_preservation.data.inputs import resize_image
from attribution_preservation.data.store import Images
from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.schema.optimization import Augmentation, Optimization
from attribution_preservation.training.randomness import derived_seed


class TrainingImages(Dataset):
    """Training images of one epoch.

    Args:
        store: the data set.
        positions: the images' positions in it.
        size: side of the network's square input.
        augmentation: random changes.
        key: seed, stage and epoch; with the image's position it seeds that image's changes.
    """

    def __init__(
        self, store: Images, positions: list[int], size: int, augmentation: Augmentation, key: tuple[int | str, ...]
    ) -> None:
        self._store, self._positions, self._size, self._key = store, positions, size, key
        self._labels = torch.from_numpy(store.labels(positions))
        self._change = _change(size, augmentation)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Image, uint8 [3, S, S], and multi-label vector, float32 [C]."""
        position = self._positions[row]
        original = self._store.image(position)
        if self._change is None:
            image = resize_image(original, self._size)
        else:
            image = torch.from_numpy(np.array(original)).permute(2, 0, 1)
            # torchvision's transforms draw from torch's global CPU generator, which stays as it was for everyone else.
            # (torch.manual_seed would also seed the GPU's, from which dropout draws.)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derived_seed(*self._key, position))
                image = self._change(image)
        return image, self._labels[row]


def _change(size: int, augmentation: Augmentation) -> Any:
    if not augmentation.crop_scale and not augmentation.flip:
        return None
    # Imported here because it takes 1.7 s, in every stage that trains, also where nothing is changed.
    from torchvision.transforms import v2

    if augmentation.crop_scale:
        crop = v2.RandomResizedCrop(size, scale=tuple(augmentation.crop_scale), antialias=True)
    else:
        crop = v2.Resize((size, size), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(augmentation.flip)])


class Batches:
    """The batches of every epoch of a run.

    Args:
        store: the data set.
        size: side of the network's square input.
        optimization: batch size, images per epoch and augmentation.
        workers: processes that prepare images; 0 prepares them in this one.

    Raises:
        UserError: an epoch would not fill one batch.
    """

    def __init__(self, store: Images, size: int, optimization: Optimization, workers: int) -> None:
        self._augmentation, self._batch_size = optimization.augmentation, optimization.batch_size
        self._store, self._size, self._workers = store, size, workers
        self._positions = store.part("train")
        everything = len(self._positions)
        self._per_epoch = min(optimization.images_per_epoch or everything, everything)
        if self._per_epoch < self._batch_size:
            raise UserError(
                f"optimization.batch_size: {self._batch_size} is more than the {self._per_epoch} training images of "
                "an epoch; lower it"
            )

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return self._per_epoch // self._batch_size

    @property
    def images(self) -> int:
        """Images per epoch that are used."""
        return self.steps * self._batch_size

    def epoch(self, *key: int | str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of images, uint8 [B, 3, S, S], and labels, float32 [B, C], of the epoch that `key` identifies."""
        generator = torch.Generator().manual_seed(derived_seed(*key, "order"))
        order = torch.randperm(len(self._positions), generator=generator)[: self.images]
        images = TrainingImages(
            self._store, [self._positions[i] for i in order.tolist()], self._size, self._augmentation, key
        )
        return iter(
            DataLoader(
                images,
                batch_size=self._batch_size,
                num_workers=self._workers,
                pin_memory=torch.cuda.is_available(),
                generator=generator,  # else the loader would draw from the global one
            )
        )
