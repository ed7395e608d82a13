"""The attribution methods: a new one is a file in this folder and a line in this list."""

from attribution_preservation.attribution.activation_gradient import ACTIVATION_GRADIENT
from attribution_preservation.attribution.deep_lift import DEEP_LIFT
from attribution_preservation.attribution.excitation_bp import EXCITATION_BP
from attribution_preservation.attribution.extremal_perturbation import EXTREMAL_PERTURBATION
from attribution_preservation.attribution.grad_cam import GRAD_CAM
from attribution_preservation.attribution.gradient_input import GRADIENT_INPUT
from attribution_preservation.attribution.information_bottleneck import INFORMATION_BOTTLENECK
from attribution_preservation.attribution.integrated_gradients import INTEGRATED_GRADIENTS
from attribution_preservation.attribution.lrp import LRP
from attribution_preservation.attribution.meaningful_perturbation import MEANINGFUL_PERTURBATION
from attribution_preservation.attribution.rap import RAP
from attribution_preservation.attribution.rise import RISE
from attribution_preservation.entries import by_name

METHODS = by_name(
    GRAD_CAM,
    EXCITATION_BP,
    LRP,
    RAP,
    ACTIVATION_GRADIENT,
    GRADIENT_INPUT,
    DEEP_LIFT,
    INTEGRATED_GRADIENTS,
    RISE,
    MEANINGFUL_PERTURBATION,
    EXTREMAL_PERTURBATION,
    INFORMATION_BOTTLENECK,
)
