"""VGG11-BN: configuration A of Simonyan and Zisserman 2015 with batch normalisation, as torchvision has it."""

from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.vgg_shape import VGGShape

VGG11_BN = NamedArchitecture(
    "vgg11_bn",
    "VGG11-BN",
    VGGShape((64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")),
    weights="VGG11_BN_Weights.IMAGENET1K_V1",
    hidden=(4096, 4096),
)
