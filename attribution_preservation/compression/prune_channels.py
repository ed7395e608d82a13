"""Channel pruning: removes a teacher's filters of small norm once, then fine-tunes."""

from collections.abc import Callable

from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.compression.compression import Compression, MatchedSettings, Plan
from attribution_preservation.compression.shape import Frame, Rate
from attribution_preservation.models.architecture import Architecture
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import Optimization
from attribution_preservation.settings import Name


class PruneChannels(MatchedSettings):
    """Channel pruning: whole filters are removed once, then the network is fine-tuned.

    Attributes:
        teacher: name of the network that is compressed.
        matchings: names of entries of `matching`.
        students: for each student by its name, the share of filters to remove, by the convolution's name (`conv1`,
            `layer1.0.conv1`). `all` means all convolutions that can lose filters and are not named; others have 0.
        optimization: schedule of the fine-tuning.
    """

    students: dict[Name, dict[str, Rate]]
    optimization: Optimization


def _pruned(rates: dict[str, float], frame: Frame, copy: Callable[[], Network]) -> Network:
    network = copy()
    prune_channels(network, rates)
    return network


def _plan(section: PruneChannels, rates: dict[str, float]) -> Plan:
    return Plan(section.optimization)


def _shape(rates: dict[str, float], teacher: Architecture) -> Architecture:
    return teacher.thinned(rates)


PRUNE_CHANNELS = Compression(
    "prune_channels",
    "Channel pruning",
    PruneChannels,
    student=_pruned,
    plan=_plan,
    shape=_shape,
    example={"all": 0.5},
)
