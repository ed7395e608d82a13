"""Titles as profiles have them, written by hand."""

from attribution_preservation.reporting.titles import Titles

TITLES = Titles(
    {"naive": "Naive", "ewa": "EWA", "swa": "SWA", "sswa": "SSWA"},
    {"grad_cam": "Grad-CAM", "excitation_bp": "Excitation BP", "lrp": "LRP", "rap": "RAP"},
    {
        "prune_weights": "weight pruning", "prune_channels": "channel pruning", "distill": "distillation",
        "scratch": "from scratch",
    },
)  # fmt: skip
