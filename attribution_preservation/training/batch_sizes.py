"""Checks of batch sizes: images per epoch, number of processes, batch normalisation."""

from collections.abc import Mapping

from attribution_preservation.models.architecture import Architecture
from attribution_preservation.optimization import Descent


def check_epoch(key: str, schedule: Descent, images: int | None) -> None:
    """Refuse a batch size above the number of images in an epoch.

    Args:
        key: section of the schedule.
        schedule: the training schedule.
        images: number of training images; None if it is known only after packing the data set.

    Raises:
        ValueError: an epoch has fewer images than a batch.
    """
    of_epoch = min(number for number in (schedule.images_per_epoch, images, schedule.batch_size) if number is not None)
    if schedule.batch_size > of_epoch:
        raise ValueError(f"{key}.optimization.batch_size: an epoch has only {of_epoch} images")


def check_share(key: str, schedule: Descent, processes: int, networks: Mapping[str, tuple[Architecture, int]]) -> None:
    """Refuse a batch size that the processes cannot share, or whose shares are too small for batch normalisation.

    During training, batch normalisation averages over the images of a process and the cells of a map. One image with
    one cell is a single value, which has no variance, so torch raises an error.

    Args:
        key: section of the schedule.
        schedule: the training schedule.
        processes: number of processes that train one network together.
        networks: the trained networks with the side of their input, by their key in params.yaml.

    Raises:
        ValueError: the batch size is not a multiple of the number of processes, or each process gets one image of a
            network whose last normalised maps have one cell.
    """
    if schedule.batch_size % processes:
        raise ValueError(
            f"{key}.optimization.batch_size: {schedule.batch_size} images cannot be shared by {processes} processes "
            "(runtime.devices times runtime.nodes); take a multiple"
        )
    if schedule.batch_size > processes:
        return
    for name, (network, size) in networks.items():
        # The explained layer is before the last max-pool in a VGG, and the last layer in a residual network. No
        # normalised map is smaller.
        if network.map_sizes(size)[network.explained_layer] == 1:
            raise ValueError(
                f"{key}.optimization.batch_size: with one image for each process, batch normalisation has a single "
                f"value per channel in {name}, whose last map has one cell at {size} pixels; take {2 * processes} or "
                "more images, or larger ones"
            )
