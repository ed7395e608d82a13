"""Layer-wise relevance propagation (LRP) with alpha 1 and beta 0: only positive contributions count."""

import torch
from torch import nn

from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.attribution.pair_images import rows_of
from attribution_preservation.attribution.relevance import (
    Relevance,
    Rules,
    bounded,
    positive_head,
    positive_weights,
    propagate,
    relu,
    reshaped,
    unchanged,
    winner_takes_all,
)
from attribution_preservation.models.network import Network

_RULES = Rules(
    "LRP",
    {
        nn.Conv2d: positive_weights,
        nn.Linear: positive_weights,
        nn.Flatten: reshaped,
        nn.BatchNorm2d: unchanged,
        nn.ReLU: relu,
        nn.MaxPool2d: winner_takes_all,
    },
    image=bounded,
    head=positive_head(lambda logits: logits),
)


def lrp(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """Maps [P, S, S] in pixels; see `lrp_relevance`."""
    return lrp_relevance(network, images, classes, image_of_pair).maps


def lrp_relevance(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> Relevance:
    """Relevance of the pixels, which receive the logit from layer to layer.

    Convolutions and linear layers use the z+ rule without bias; the first convolution uses z^B. Batch normalisation
    and ReLU pass relevance unchanged. Max-pooling gives it to the position of the maximum. A residual sum and an
    average divide it in proportion to their terms. A pixel's relevance has the sign of the logit.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Raises:
        ValueError: as `rows_of`.
        TypeError: the network has a layer without a rule.

    Source: Bach et al. 2015; Montavon et al. 2018, "Methods for interpreting and understanding deep neural networks".
    """
    return propagate(network, images, classes, rows_of(network, images, classes, image_of_pair), _RULES)


LRP = AttributionMethod("lrp", "LRP", lrp_relevance, needs="relevance rules", libraries=("torchvision",))
