"""All data sources. A new source is a file in this folder and a line in this list."""

from attribution_preservation.data.digits import DIGITS
from attribution_preservation.data.imagenet import IMAGENET
from attribution_preservation.data.voc2012 import VOC2012
from attribution_preservation.entries import by_name

SOURCES = by_name(
    DIGITS,
    VOC2012,
    IMAGENET,
)
