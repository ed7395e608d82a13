"""Attribution methods: a function from (network, images, classes) to maps, with a record of its properties."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import PlainValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from attribution_preservation.attribution.relevance import Relevance, quotient
from attribution_preservation.entries import Entry, entry_of, every, load
from attribution_preservation.models.architecture import Architecture
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Count, Section


class MethodSettings(Section):
    """Settings that every attribution method has.

    Attributes:
        maps: name of the method.
        pairs: number of (image, class) pairs that it explains, evenly spaced over all; null for all of them.
    """

    maps: str
    pairs: Count | None = None


def nothing_refused(settings: Any, networks: Sequence[Architecture], size: int) -> str | None:
    """Return None: the method can explain every network."""
    return None


def options(settings: MethodSettings, network: Network, training_images: torch.Tensor) -> dict[str, Any]:
    """A method's own settings, as keywords of its function."""
    return settings.model_dump(exclude={"maps", "pairs"})


@dataclass(frozen=True)
class AttributionMethod(Entry):
    """One attribution method.

    Attributes:
        name: its word in params.yaml and results.csv.
        title: its name in tables, in figures and on the page.
        explain: maps [P, h, w] = explain(network, images, classes, image_of_pair, **settings), or `Relevance` with such
            maps. A function with an argument `activation` also receives the network's last activation of the images.
        settings: a subclass of `MethodSettings`. The fields that it adds are the function's keywords.
        resolution: a map has the resolution of a layer, or of the images in pixels.
        needs: what a network must offer: a forward pass, the gradient of its logits with respect to the input, a layer
            from which its head can be run, or layers that all have a relevance rule.
        example: the smallest settings, without `maps`; the contract tests run them.
        refuses: function of the settings, the networks to explain and the side of their input in pixels. It returns the
            reason why the method cannot explain them, worded to follow the method's name in a message, or None.
        keywords: function of the settings, the network and normalised training images [N, 3, S, S]. It returns the
            keywords of `explain`.
        libraries: modules of other packages that the function imports when it first runs, because they take seconds;
            see `import_libraries`.
        of_probability: whether it explains a class's sigmoid probability. If classes exclude each other, a network has
            no such probability.
        knows_training: whether it uses statistics of the trained network. A network with random weights has none.
        variant_titles: of settings of it that profiles name otherwise, by that name.
    """

    noun: ClassVar = "attribution method"
    list_module: ClassVar = "methods"
    name: str
    title: str
    explain: Callable[..., torch.Tensor | Relevance]
    settings: type[MethodSettings] = MethodSettings
    resolution: Literal["layer", "pixels"] = "pixels"
    needs: Literal["forward", "gradient", "layer", "relevance rules"] = "gradient"
    example: Mapping[str, Any] = field(default_factory=dict)
    refuses: Callable[[Any, Sequence[Architecture], int], str | None] = nothing_refused
    keywords: Callable[[Any, Network, torch.Tensor], dict[str, Any]] = options
    libraries: tuple[str, ...] = ()
    of_probability: bool = False
    knows_training: bool = False
    variant_titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_activation(self) -> bool:
        """Whether the function is given the network's last activation."""
        return "activation" in inspect.signature(self.explain).parameters


def import_libraries(methods: Iterable[MethodSettings]) -> None:
    """Import the libraries that the methods import when they first run.

    A stage records the libraries of its own process, but other processes may explain its networks. So it imports
    these libraries itself.
    """
    for settings in methods:
        for library in entry_of(AttributionMethod, settings.maps).libraries:
            importlib.import_module(library)


def _read(value: Any) -> MethodSettings:
    name = value.get("maps") if isinstance(value, dict) else getattr(value, "maps", None)
    method = load(AttributionMethod, name)
    if method is None:
        names = ", ".join(every(AttributionMethod))
        raise PydanticCustomError("unknown_maps", "maps must be one of {names}", {"names": names})
    return method.settings.model_validate(value)


Method = Annotated[SerializeAsAny[MethodSettings], PlainValidator(_read)]


class Attribution:
    """One method with its parameters: `maps = method(network, images, classes, image_of_pair)`.

    It explains `classes` [P] of `images` [B, 3, S, S]. `image_of_pair` [P] gives the row of each class's image. Leave
    it out if there is one class per image. Maps are [P, h, w], at the method's resolution. The network does not change.
    A pair's map does not depend on the other pairs.

    Args:
        settings: parameters of the method.
        network: network to explain, in eval mode.
        training_images: normalised, [N, 3, S, S], for a method that needs the distribution of a layer's units.

    Raises:
        ValueError: no method has the name in the settings.
    """

    def __init__(self, settings: MethodSettings, network: Network, training_images: torch.Tensor) -> None:
        self._method = entry_of(AttributionMethod, settings.maps)
        self._keywords = self._method.keywords(settings, network, training_images)

    def __call__(
        self,
        network: Network,
        images: torch.Tensor,
        classes: torch.Tensor,
        image_of_pair: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Maps [P, h, w].

        Raises:
            ValueError: see `attribution_preservation.attribution.pair_images.rows_of`.
            TypeError: the method has no rule for one of the network's layers.
        """
        return self.explain(network, images, classes, image_of_pair)[0]

    def explain(
        self,
        network: Network,
        images: torch.Tensor,
        classes: torch.Tensor,
        image_of_pair: torch.Tensor | None = None,
        activation: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Maps, and the absorbed share of the relevance in percent, [P], or None for a method without relevance.

        Args:
            activation: the network's last activation of the images, [B, K, h, w], for a method that starts from it.
        """
        known = {"activation": activation} if self._method.takes_activation else {}
        answer = self._method.explain(network, images, classes, image_of_pair, **known, **self._keywords)
        if isinstance(answer, Relevance):
            return answer.maps, quotient(100 * answer.absorbed, answer.start)
        return answer, None
