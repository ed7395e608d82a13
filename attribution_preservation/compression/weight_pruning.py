"""Magnitude pruning of single weights, global over all convolutions. It works in steps and never restores a weight."""

from collections.abc import Mapping

import torch
from torch import nn


def pruned_share(iteration: int, rate: float) -> float:
    """Share of the weights that `iteration` steps remove, if each step removes `rate` of the remaining weights."""
    return 1 - (1 - rate) ** iteration


class WeightMasks:
    """Masks of the remaining weights of some layers. `apply` sets all other weights to exactly 0.

    Args:
        layers: the layers by name, whose `weight` is pruned.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = dict(layers)
        self._masks = {name: torch.ones_like(m.weight, dtype=torch.bool) for name, m in self._layers.items()}
        self._factors: list[torch.Tensor] = []  # the masks as numbers, computed when they are needed

    @property
    def sparsity(self) -> float:
        """Share of the weights that is pruned, from 0 to 1."""
        left = sum(int(mask.sum()) for mask in self._masks.values())
        return 1 - left / sum(mask.numel() for mask in self._masks.values())

    @torch.no_grad()
    def grow(self, share: float) -> None:
        """Prune the weights of smallest magnitude, over all layers together, until `share` of all weights are pruned.

        Pruned weights stay pruned. Of weights with equal magnitude, the earlier layer's and then the earlier weight is
        pruned first.

        Raises:
            ValueError: `share` is below what is already pruned, or above 1.
        """
        self._follow()
        magnitudes = torch.cat(
            [m.weight.abs().masked_fill(~self._masks[n], -1).flatten().float() for n, m in self._layers.items()]
        )
        count = round(share * len(magnitudes))
        already = int((magnitudes < 0).sum())
        if not already <= count <= len(magnitudes):
            raise ValueError(f"cannot prune a share of {share}: {already} of {len(magnitudes)} are pruned already")
        left = torch.ones(len(magnitudes), dtype=torch.bool, device=magnitudes.device)
        left[torch.argsort(magnitudes, stable=True)[:count]] = False
        sizes = [mask.numel() for mask in self._masks.values()]
        for (name, mask), part in zip(self._masks.items(), left.split(sizes), strict=True):
            self._masks[name] = part.view_as(mask)
        self._factors = []
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Set pruned weights to 0. Call it after every optimiser step: momentum and weight decay change them."""
        self._follow()
        weights = [module.weight for module in self._layers.values()]
        if not self._factors:
            # They have the weights' type and memory layout, so that one call multiplies all of them without a copy.
            masks = self._masks.values()
            self._factors = [torch.empty_like(weight).copy_(mask) for weight, mask in zip(weights, masks, strict=True)]
        torch._foreach_mul_(weights, self._factors)

    def _follow(self) -> None:
        """Move the masks to the device of the layers, which a trainer may have moved."""
        for name, module in self._layers.items():
            if (mask := self._masks[name]).device != module.weight.device:
                self._masks[name], self._factors = mask.to(module.weight.device), []

    def state(self) -> dict[str, torch.Tensor]:
        """The masks by layer name, bool, True for each remaining weight."""
        return dict(self._masks)

    def load_state(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Load masks from `state`."""
        for name, mask in self._masks.items():
            self._masks[name] = masks[name].to(mask.device)
        self._factors = []
        self.apply()
