"""All compression methods, in the order of tables. A new method is a file in this folder and a line in this list."""

from attribution_preservation.compression.distill import DISTILL
from attribution_preservation.compression.prune_channels import PRUNE_CHANNELS
from attribution_preservation.compression.prune_weights import PRUNE_WEIGHTS
from attribution_preservation.compression.scratch import SCRATCH
from attribution_preservation.entries import by_name

COMPRESSIONS = by_name(
    PRUNE_WEIGHTS,
    PRUNE_CHANNELS,
    DISTILL,
    SCRATCH,
)
