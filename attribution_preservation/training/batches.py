"""Training batches: a random subset of images in random order with random augmentation, all from derived seeds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from attribution_preservation.data.device import sent
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import frame_image
from attribution_preservation.data.store import Images
from attribution_preservation.errors import UserError
from attribution_preservation.optimization import Augmentation, Optimization
from attribution_preservation.training.augmentation import Augmenter, Crop, Crops
from attribution_preservation.training.randomness import derived_seed

_KEPT = 4 * 2**30  # most bytes of resized images that a run keeps in memory for all its epochs
# Crops with a longer side (in pixels) are resized on the CPU when they are read, because a batch is padded to its
# largest crop, and ImageNet has photographs of several thousand pixels. VOC has 500 at most: 180 crops take 142 MB.
_LONGEST = 512

Place: TypeAlias = tuple[tuple[int | str, ...], int]  # key of an epoch, and row of an image


class Batches:
    """The batches of every epoch of a run.

    Args:
        store: the data set.
        framing: framing of images without random crops; its size holds for all images.
        optimization: batch size, images per epoch and augmentation.
        workers: number of processes that read images which are not kept in memory; 0 reads them in this process.
        share: number of this process among the processes that train together, and their count. Of every batch it gets
            the images whose index modulo the count equals its number.

    Raises:
        UserError: an epoch has fewer images than a batch, or the processes cannot share a batch equally.
    """

    def __init__(
        self, store: Images, framing: Framing, optimization: Optimization, workers: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self._augmentation, self._batch_size = optimization.augmentation, optimization.batch_size
        self._store, self._framing, self._workers = store, framing, workers
        self._rank, self._processes = share
        self._positions = store.part("train")
        self._labels = torch.from_numpy(store.labels(self._positions))
        changed = bool(self._augmentation.crop_scale or self._augmentation.flip)
        self._resized = None
        if not changed and len(self._positions) * 3 * framing.size**2 <= _KEPT:
            self._resized = _Resized(store, self._positions, framing)
        everything = len(self._positions)
        self._loader: DataLoader[Any] | None = None  # created in the first epoch
        self._order: list[list[Place]] = []  # the batches of the epoch that the loader reads
        self._per_epoch = min(optimization.images_per_epoch or everything, everything)
        if self._per_epoch < self._batch_size:
            raise UserError(
                f"optimization.batch_size: {self._batch_size} is more than the {self._per_epoch} training images of "
                "an epoch; lower it"
            )
        if self._batch_size % self._processes:
            raise UserError(
                f"optimization.batch_size: {self._batch_size} images cannot be shared by {self._processes} processes "
                "(runtime.devices times runtime.nodes); take a multiple"
            )

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return self._per_epoch // self._batch_size

    @property
    def images(self) -> int:
        """Number of images that all processes together use in an epoch."""
        return self.steps * self._batch_size

    def epoch(self, *key: int | str, device: torch.device | str = "cpu") -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of the epoch that `key` identifies, on a device.

        Yields:
            Images, uint8 [B, 3, S, S], and labels: multi-label vectors, float32 [B, C], or indices, int64 [B], if
            classes exclude each other. B is the size of this process's share of a batch.
        """
        device = torch.device(device)
        generator = torch.Generator().manual_seed(derived_seed(*key, "order"))
        order = torch.randperm(len(self._positions), generator=generator)[: self.images]
        rows = [part[self._rank :: self._processes] for part in order.split(self._batch_size)]
        if self._resized is not None:
            for part in rows:
                yield sent(self._resized(part), device), sent(self._labels[part], device)
            return
        self._order[:] = [[(key, row) for row in part.tolist()] for part in rows]
        if self._loader is None:
            self._loader = DataLoader(
                Originals(self._store, self._positions, self._framing, self._augmentation),
                batch_sampler=self._order,
                collate_fn=collate,
                num_workers=self._workers,
                pin_memory=device.type == "cuda",
                persistent_workers=self._workers > 0,  # for the whole run: starting them takes 0.3 s per epoch
                generator=torch.Generator(),  # else the loader would draw from the global one
            )
        for crops, numbers in self._loader:
            if isinstance(crops, UserError):
                raise crops
            yield crops.to(device).resized(self._framing.size), sent(self._labels[numbers], device)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Context for all code that uses the batches. torch reports the end of a worker at any place in that code.

        Raises:
            UserError: the kernel ended a worker because there was no shared memory for its batch.
        """
        try:
            yield
        except RuntimeError as error:
            if "Bus error" not in str(error):  # the kernel's signal to a worker that writes without free memory
                raise
            raise _no_shared_memory(self._workers) from None


class _Resized:
    """Images framed as in evaluation, each when it is first needed."""

    def __init__(self, store: Images, positions: Sequence[int], framing: Framing) -> None:
        self._store, self._positions, self._framing = store, positions, framing
        self._images = torch.empty(len(positions), 3, framing.size, framing.size, dtype=torch.uint8)
        self._there = torch.zeros(len(positions), dtype=torch.bool)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        for row in rows[~self._there[rows]].tolist():
            self._images[row] = frame_image(self._store.image(self._positions[row]), self._framing)
            self._there[row] = True
        return self._images[rows]


def _no_shared_memory(workers: int) -> UserError:
    return UserError(
        f"runtime.workers: {workers} processes find too little shared memory (/dev/shm) for their batches; lower it, "
        "set it to 0, or give more (docker run --shm-size)"
    )


class Originals(Dataset):
    """The part of each training image that one epoch uses, in its original size.

    An index is the epoch's key with the image's row. The key and the image's position seed the augmentation.

    `Crops.resized` squeezes a whole image into the square. So without random crops, a framing that cuts a
    square cuts it here.
    """

    def __init__(
        self,
        store: Images,
        positions: Sequence[int],
        framing: Framing,
        augmentation: Augmentation,
    ) -> None:
        self._store, self._positions = store, positions
        self._cut = framing if framing.resize and not augmentation.crop_scale else None
        self._squeezed = Framing(size=framing.size)
        self._augmenter = Augmenter(augmentation)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: Place) -> tuple[Crop | UserError, int]:
        key, row = place
        position = self._positions[row]
        try:
            image = self._store.image(position)
        except UserError as error:
            # Returned as a value, because torch would add a worker's traceback to the message of a raised error.
            return error, row
        if self._cut is not None:
            image = frame_image(image, self._cut).permute(1, 2, 0).numpy()
        crop = self._augmenter(image, derived_seed(*key, position))
        if max(crop.image.shape[:2]) > _LONGEST:
            small = frame_image(crop.image, self._squeezed).permute(1, 2, 0).numpy()
            crop = Crop(small, crop.flipped)
        return crop, row


def collate(samples: list[tuple[Crop | UserError, int]]) -> tuple[Crops | UserError, torch.Tensor]:
    """One batch of samples of `Originals`, or the first error among them, and the samples' rows."""
    rows = torch.tensor([row for _, row in samples])
    if errors := [crop for crop, _ in samples if isinstance(crop, UserError)]:
        return errors[0], rows
    crops = Crops.of([crop for crop, _ in samples])
    if worker := get_worker_info():
        try:
            for tensor in (crops.images, crops.sizes, crops.flipped, rows):
                # Otherwise torch does this in a thread whose failure is not reported, and all processes wait forever.
                tensor.share_memory_()
        except RuntimeError:
            return _no_shared_memory(worker.num_workers), torch.tensor([])
    return crops, rows
