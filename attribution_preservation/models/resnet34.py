"""ResNet34: the network with 34 layers of He et al. 2016, as torchvision has it."""

from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.resnet_shape import residual

RESNET34 = NamedArchitecture(
    "resnet34",
    "ResNet34",
    residual(64, True, [(64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3)]),
    weights="ResNet34_Weights.IMAGENET1K_V1",
)
