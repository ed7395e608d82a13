"""Integrated gradients, by captum: the baseline is 0, the mean colour of the data after normalisation."""

import torch

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Repeats


class IntegratedGradientsSettings(MethodSettings):
    """Integrated gradients.

    Attributes:
        steps: points on the line from the mean colour to the image.
    """

    steps: Repeats  # the quadrature's points come from the eigenvalues of a matrix of that size


@explains
def integrated_gradients(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    steps: int,
) -> torch.Tensor:
    """M = sum over colours of x * (mean of d y_c / d x on the line from 0 to x), by Gauss-Legendre quadrature.

    The sum of a map approaches y_c(x) - y_c(0) as the number of steps grows.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        steps: points on the line.

    Returns:
        Maps [P, S, S], signed, summed over the three colours.

    Raises:
        ValueError: as `rows_of`.

    Source: Sundararajan et al. 2017.
    """
    # Imported here because captum takes half a second and checking a profile does not need it. It imports matplotlib.
    import attribution_preservation.drawing  # noqa: F401

    # isort: split
    from captum.attr import IntegratedGradients

    inputs = of_pairs(images, rows_of(network, images, classes, image_of_pair))
    if not len(inputs):
        return images.new_empty(0, *images.shape[2:])
    with torch.enable_grad():
        attributions = IntegratedGradients(network).attribute(
            inputs, target=classes, n_steps=steps, method="gausslegendre", internal_batch_size=max(len(inputs), 64)
        )
    return attributions.detach().sum(1).to(images.dtype)


INTEGRATED_GRADIENTS = AttributionMethod(
    "integrated_gradients",
    "Integrated gradients",
    integrated_gradients,
    IntegratedGradientsSettings,
    example={"steps": 4},
    libraries=(
        "attribution_preservation.drawing",
        "captum.attr",
    ),
)
