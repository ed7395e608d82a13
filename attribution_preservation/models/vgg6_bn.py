"""VGG6-BN: five convolutions and one linear layer, for images of 56 pixels.

The last map is 7 x 7 there, like the map of VGG16 at 227 pixels, because the strength of matching depends on the map's
size. The network is ours, in the form of Simonyan and Zisserman 2015.
"""

from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.vgg_shape import VGGShape

VGG6_BN = NamedArchitecture("vgg6_bn", "VGG6-BN", VGGShape((16, "M", 32, "M", 64, 64, 96, "M")))
