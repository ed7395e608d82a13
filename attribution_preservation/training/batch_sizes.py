"""What a batch must fit where a network is trained: an epoch's images, the processes, batch normalisation."""

from collections.abc import Mapping

from attribution_preservation.models.architectures import Architecture
from attribution_preservation.optimization import Descent


def check_epoch(key: str, schedule: Descent, images: int | None) -> None:
    """Refuse a batch that an epoch does not fill.

    Args:
        key: section of the schedule.
        schedule: of a training.
        images: of training; None where only packing the data set counts them.

    Raises:
        ValueError: an epoch has fewer images than a batch.
    """
    of_epoch = min(number for number in (schedule.images_per_epoch, images, schedule.batch_size) if number is not None)
    if schedule.batch_size > of_epoch:
        raise ValueError(f"{key}.optimization.batch_size: an epoch has only {of_epoch} images")


def check_share(key: str, schedule: Descent, processes: int, networks: Mapping[str, tuple[Architecture, int]]) -> None:
    """Refuse a batch that the processes cannot share, or whose shares batch normalisation cannot take.

    The layers of a network in training normalise over the images of a process and the cells of a map. One image and
    one cell are one value, which has no variance, and torch raises an error.

    Args:
        key: section of the schedule.
        schedule: of a training that runs.
        processes: that train one network together.
        networks: that it trains, with the side of their input, by their key in params.yaml.

    Raises:
        ValueError: the batch is no multiple of the processes, or leaves a process one image of a network whose last
            normalised maps have one cell.
    """
    if schedule.batch_size % processes:
        raise ValueError(
            f"{key}.optimization.batch_size: {schedule.batch_size} images cannot be shared by {processes} processes "
            "(runtime.devices times runtime.nodes); take a multiple"
        )
    if schedule.batch_size > processes:
        return
    for name, (network, size) in networks.items():
        # Of a VGG the map before the last max-pool, of a residual network the last one: none that is normalised is
        # smaller.
        if network.map_sizes(size)[network.explained_layer] == 1:
            raise ValueError(
                f"{key}.optimization.batch_size: with one image for each process, batch normalisation has a single "
                f"value per channel in {name}, whose last map has one cell at {size} pixels; take {2 * processes} or "
                "more images, or larger ones"
            )
