"""The matching losses: a new one is a file in this folder and a line in this list."""

from attribution_preservation.entries import by_name
from attribution_preservation.matching.ewa import EWA
from attribution_preservation.matching.input_gradient import INPUT_GRADIENT
from attribution_preservation.matching.integrated_gradients import INTEGRATED_GRADIENTS
from attribution_preservation.matching.loss_gradient import LOSS_GRADIENT
from attribution_preservation.matching.neuron import NEURON
from attribution_preservation.matching.none import NONE
from attribution_preservation.matching.random_weights import RANDOM_WEIGHTS
from attribution_preservation.matching.swa import SWA

LOSSES = by_name(
    NONE,
    EWA,
    SWA,
    NEURON,
    RANDOM_WEIGHTS,
    INPUT_GRADIENT,
    INTEGRATED_GRADIENTS,
    LOSS_GRADIENT,
)
