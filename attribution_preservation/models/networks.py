"""Every network that params.yaml may name. A new one is a file of this folder and a line here."""

from attribution_preservation.entries import by_name
from attribution_preservation.models.resnet8 import RESNET8
from attribution_preservation.models.resnet34 import RESNET34
from attribution_preservation.models.vgg6_bn import VGG6_BN
from attribution_preservation.models.vgg11_bn import VGG11_BN
from attribution_preservation.models.vgg16_bn import VGG16_BN

NETWORKS = by_name(
    VGG6_BN,
    VGG11_BN,
    VGG16_BN,
    RESNET8,
    RESNET34,
)
