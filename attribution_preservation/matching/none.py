"""Naive compression: nothing is matched, and the teacher runs only for distillation."""

from attribution_preservation.matching.loss import MatchingLoss, MatchingSettings

NONE = MatchingLoss("none", "Naive", None, MatchingSettings, example={}, variant_titles={"naive": "Naive"})
