"""Magnitude pruning of single weights: global over all convolutions, in steps, never undone."""

from collections.abc import Mapping

import torch
from torch import nn


def pruned_share(iteration: int, rate: float) -> float:
    """Share of the weights that is gone after `iteration` steps, each of which removes `rate` of what is left."""
    return 1 - (1 - rate) ** iteration


class WeightMasks:
    """Which weights of a set of layers are left; weights outside stay exactly 0 once `apply` is called.

    Args:
        layers: the layers by name, whose `weight` is pruned.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = dict(layers)
        self._masks = {name: torch.ones_like(m.weight, dtype=torch.bool) for name, m in self._layers.items()}
        self._factors: list[torch.Tensor] = []  # the same as numbers, made when they are needed

    @property
    def sparsity(self) -> float:
        """Share of the weights that is pruned, from 0 to 1."""
        left = sum(int(mask.sum()) for mask in self._masks.values())
        return 1 - left / sum(mask.numel() for mask in self._masks.values())

    @torch.no_grad()
    def grow(self, share: float) -> None:
        """Prune the weights of smallest magnitude, over all layers together, until `share` of them are gone.

        What is pruned stays pruned. Among equal magnitudes the earlier layer's, then the earlier weight goes first.

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
        """Set pruned weights to 0; called after every optimiser step, whose momentum and decay would move them."""
        self._follow()
        weights = [module.weight for module in self._layers.values()]
        if not self._factors:
            # In the weights' own type and order in memory: a step multiplies all of them in one call, without a copy.
            masks = self._masks.values()
            self._factors = [torch.empty_like(weight).copy_(mask) for weight, mask in zip(weights, masks, strict=True)]
        torch._foreach_mul_(weights, self._factors)

    def _follow(self) -> None:
        """Move the masks to where the layers are; a trainer may have moved those since."""
        for name, module in self._layers.items():
            if (mask := self._masks[name]).device != module.weight.device:
                self._masks[name], self._factors = mask.to(module.weight.device), []

    def state(self) -> dict[str, torch.Tensor]:
        """The masks by layer name, bool, True where a weight is left."""
        return dict(self._masks)

    def load_state(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Take over masks from `state`."""
        for name, mask in self._masks.items():
            self._masks[name] = masks[name].to(mask.device)
        self._factors = []
        self.apply()
