"""Naive compression: nothing is matched, and the teacher does not run where it is not distilled."""

from attribution_preservation.matching.loss import MatchingLoss, MatchingSettings

NONE = MatchingLoss("none", "Naive", None, MatchingSettings, example={}, variant_titles={"naive": "Naive"})
