"""ResNet8: one block in each of three stages, for images of 56 pixels, where the last map is 7 x 7.

It is the smallest of the family that He et al. 2016 made for CIFAR (6n + 2 layers), behind the first convolution of
ResNet34.
"""

from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.resnet_shape import residual

RESNET8 = NamedArchitecture("resnet8", "ResNet8", residual(16, False, [(16, 1, 1), (32, 2, 1), (64, 2, 1)]))
