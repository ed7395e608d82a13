"""The matching loss of two networks: recorded passes, and the distance between the networks' maps."""

import torch

from attribution_preservation.data.device import sent
from attribution_preservation.entries import entry_of
from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import MapSettings, MatchingLoss, Target
from attribution_preservation.matching.selection import mean_over, right_images
from attribution_preservation.matching.sensitivity import in_closed_form
from attribution_preservation.matching.view import FrozenTeacher, View, student_view
from attribution_preservation.models.gradient_mode import differentiable
from attribution_preservation.models.network import Network


class Matcher:
    """The matching loss of one method.

    Args:
        settings: the method's parameters.
        student, teacher: the networks; only the names of their layers are used.

    Attributes:
        differentiates_trunk: whether the student's maps are gradients through its trunk. Maps of the last layer are
            gradients through its head only.

    Raises:
        UserError: a layer to match does not exist.
    """

    def __init__(self, settings: MapSettings, student: Network, teacher: Network) -> None:
        self._settings, self._loss, self._generator = settings, entry_of(MatchingLoss, settings.maps), torch.Generator()
        of_input = self._loss.of == "input"
        self._layers = [] if of_input else settings.layers or [teacher.last_layer]
        for network, whose in ((student, "student"), (teacher, "teacher")):
            if unknown := [name for name in self._layers if name not in network.layer_index]:
                there = ", ".join(network.layer_index)
                raise UserError(f"matching: the {whose} has no layer {unknown[0]}; it has {there}")
        before_last = any(name != student.last_layer for name in self._layers)
        self.differentiates_trunk = of_input or (self._loss.recorded == "layers" and before_last)

    def start_epoch(self, seed: int) -> None:
        """Seed the generator that draws channels. It is separate, so that dropout is the same for every method."""
        self._generator.manual_seed(seed)

    def student_view(self, network: Network, images: torch.Tensor) -> View:
        """The student's pass over a batch, recorded as far as this method needs it."""
        dropout = getattr(self._settings, "student_dropout", True)  # other losses do not use dropout's mask
        return student_view(network, images, self._layers, dropout=dropout, from_input=self._loss.recorded == "input")

    def teacher_view(self, teacher: FrozenTeacher, images: torch.Tensor) -> View:
        """The teacher's pass over a batch, recorded as far as this method needs it."""
        differentiated = self._layers if self._loss.recorded == "layers" else []
        by_autograd = [name for name in differentiated if not in_closed_form(teacher.network, name)]
        return teacher(images, self._layers, by_autograd, self._loss.recorded == "input")

    def __call__(self, student: View, teacher: View, labels: torch.Tensor) -> torch.Tensor:
        """The matching loss before its strength: mean over layers and images, a scalar.

        The maps of both networks explain the teacher's top class. The student's maps are differentiated through their
        channel weights as well. The teacher's maps are constants.
        """
        with differentiable():
            classes = teacher.logits.argmax(1)
            with torch.no_grad():
                theirs = self._maps(teacher, classes, labels, drawn=True)
            ours = self._maps(student, classes, labels, drawn=False)
            distances = [self._loss.distance(*maps) for maps in zip(ours, theirs, strict=True)]
            chosen = right_images(teacher.logits, labels) if self._settings.images == "right" else None
            return mean_over(torch.stack(distances).mean(0), chosen)

    def _maps(self, view: View, classes: torch.Tensor, labels: torch.Tensor, drawn: bool) -> list[torch.Tensor]:
        targets = [
            Target(classes, labels, layer, self._draw(view, layer) if drawn else None)
            for layer in self._layers or [None]
        ]
        return [self._loss.map(view, target, self._settings) for target in targets]

    def _draw(self, view: View, layer: str | None) -> torch.Tensor | None:
        if self._loss.draw is None or not self._settings.dropped_share:
            return None
        feature_map = view.features[layer]
        drawn = self._loss.draw(feature_map.shape[1], self._settings.dropped_share, self._generator)
        return sent(drawn, feature_map.device)
