"""How a network is trained: shared by every section that trains one."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from attribution_preservation.settings import Count, CountOrZero, Section, between

Share = Annotated[float, Field(ge=0, le=1)]
# Of the smallest image a hundredth is a square of 3 pixels; where a crop has none, torchvision shows the whole image.
Area = Annotated[float, Field(gt=0, le=1), between(0.01, 1)]
# A step moves a float32 weight by less than its rounding below, and overflows above.
LearningRate = Annotated[float, Field(gt=0), between(1e-9, 1000)]
# Below, one milestone ends the training.
Gamma = Annotated[float, Field(gt=0, le=1), between(1e-6, 1)]
# Gradients add up to 1 / (1 - momentum) of them.
Momentum = Annotated[float, Field(ge=0, lt=1), between(0, 0.9999)]


class Augmentation(Section):
    """Random changes of a training image, each off where it is null or 0.

    Attributes:
        crop_scale: share of the image's area that a random resized crop covers, from and to (aspect 3/4 to 4/3).
        flip: probability of a horizontal flip.
    """

    crop_scale: Annotated[list[Area], Field(min_length=2, max_length=2)] | None
    flip: Share

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.crop_scale and self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"augmentation.crop_scale: runs from {self.crop_scale[0]} down to {self.crop_scale[1]}")
        return self


class Descent(Section):
    """Stochastic gradient descent with momentum.

    Attributes:
        images_per_epoch: a random subset of this size makes an epoch; null takes all.
        batch_size: images per step; the last, smaller batch of an epoch is left out.
        learning_rate: learning rate of the first epoch.
        milestones: numbers of finished epochs after which the learning rate is multiplied by `gamma`.
        gamma: factor of the learning rate at each of the `milestones`.
        momentum: as torch.optim.SGD defines it.
        weight_decay: as torch.optim.SGD defines it.
        augmentation: random changes of the training images.
    """

    images_per_epoch: Count | None
    batch_size: Count
    learning_rate: LearningRate
    milestones: list[CountOrZero]
    gamma: Gamma
    momentum: Momentum
    weight_decay: Annotated[float, Field(ge=0, le=10)]  # usual are 1e-5 to 1e-2
    augmentation: Augmentation

    def over(self, epochs: int) -> "Optimization":
        """The same for a number of epochs."""
        return Optimization(epochs=epochs, **dict(self))


def before_the_last(snapshots: list[int], epochs: int | None) -> list[int]:
    """Epochs after which a network is saved, none of which is the last.

    Args:
        snapshots: the epochs.
        epochs: of the whole training; None where that has a mistake of its own.

    Raises:
        ValueError: one of them is the last epoch, or comes later.
    """
    if epochs is not None and (late := [epoch for epoch in snapshots if epoch >= epochs]):
        raise ValueError(f"{late[0]} is not before the last epoch, which is always kept")
    return snapshots


class Optimization(Descent):
    """Gradient descent over a number of epochs.

    Attributes:
        epochs: passes over the training images.
    """

    epochs: Count
