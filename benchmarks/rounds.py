"""Ratios of times within one run: every variant once in every round, so that a slow phase of the machine hits all."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Literal

import torch

from benchmarks.measurement import Figure

_WARM_UP = 2


def time_rounds(variants: Mapping[str, Callable[[], object]], count: int, device: str) -> list[dict[str, float]]:
    """Seconds of each variant in each round, after two rounds that are not counted.

    The order changes from round to round, because a step depends on the caches and the allocator as the previous step
    left them.
    """
    rounds = []
    order = random.Random(0)
    for _ in range(_WARM_UP + count):
        times = {}
        for name, variant in order.sample(list(variants.items()), len(variants)):
            start = time.perf_counter()
            variant()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name] = time.perf_counter() - start
        rounds.append(times)
    return rounds[_WARM_UP:]


def ratio(name: str, values: list[float], better: Literal["lower", "higher"], target: float | None) -> Figure:
    """Median of the rounds' ratios, with their quartiles."""
    quartiles = statistics.quantiles(values, n=4)
    return Figure(name, statistics.median(values), "ratio", better, target, (quartiles[0], quartiles[2]))
