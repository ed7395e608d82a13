"""One method of matching, put together from its parameters: which maps of two networks are compared, on what."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from attribution_preservation.data.device import sent
from attribution_preservation.errors import UserError
from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.input_gradient import input_gradient_map
from attribution_preservation.matching.integrated_gradients import integrated_gradients_map
from attribution_preservation.matching.loss_gradient import gradient_distance, loss_gradient
from attribution_preservation.matching.neuron import neuron_map
from attribution_preservation.matching.random_weights import bernoulli_weights, random_map
from attribution_preservation.matching.rectifier import RECTIFIERS
from attribution_preservation.matching.selection import mean_over, right_images
from attribution_preservation.matching.sensitivity import feature_gradient, in_closed_form
from attribution_preservation.matching.swa import kept_channels, swa_map
from attribution_preservation.matching.view import FrozenTeacher, View, student_view
from attribution_preservation.models.gradient_mode import differentiable
from attribution_preservation.models.network import Network
from attribution_preservation.pipeline.schema.matching import Matching


@dataclass(frozen=True)
class _Target:
    """What is explained in one batch.

    Attributes:
        classes: the TEACHER's top class of each image, for both networks, int64 [B].
        labels: of the task, [B, C] or [B].
        draw: the teacher's channels by their number, as the method draws them; None for the student.
    """

    classes: torch.Tensor
    labels: torch.Tensor
    draw: Callable[[int], torch.Tensor] | None


class Matcher:
    """The matching loss of one method.

    Args:
        settings: the method's parameters.
        student, teacher: the networks; only their layers' names are looked at.

    Attributes:
        differentiates_trunk: whether the student's maps are gradients through its trunk; at the last layer they are
            gradients through its head alone.

    Raises:
        UserError: a layer to match does not exist.
    """

    def __init__(self, settings: Matching, student: Network, teacher: Network) -> None:
        self._settings = settings
        self._rectifier = RECTIFIERS[settings.rectifier]
        self._generator = torch.Generator()
        self._from_input = settings.maps in ("input_gradient", "loss_gradient")
        on_input = self._from_input or settings.maps == "integrated_gradients"
        self._layers = [] if on_input else settings.layers or [teacher.last_layer]
        for network, whose in ((student, "student"), (teacher, "teacher")):
            if unknown := [name for name in self._layers if name not in network.layer_index]:
                there = ", ".join(network.layer_index)
                raise UserError(f"matching: the {whose} has no layer {unknown[0]}; it has {there}")
        before_last = any(name != student.last_layer for name in self._layers)
        self.differentiates_trunk = on_input or (settings.maps in ("swa", "neuron") and before_last)

    def start_epoch(self, seed: int) -> None:
        """Seed the draws of channels, which so leave dropout's as they are with every other method."""
        self._generator.manual_seed(seed)

    def student_view(self, network: Network, images: torch.Tensor) -> View:
        """The student's pass over a batch, recorded as far as this method needs it."""
        dropout = self._settings.student_dropout
        return student_view(network, images, self._layers, dropout=dropout, from_input=self._from_input)

    def teacher_view(self, teacher: FrozenTeacher, images: torch.Tensor) -> View:
        """The teacher's pass over a batch, recorded as far as this method needs it."""
        differentiated = []
        if self._settings.maps in ("swa", "neuron"):
            differentiated = [name for name in self._layers if not in_closed_form(teacher.network, name)]
        return teacher(images, self._layers, differentiated, self._from_input)

    def __call__(self, student: View, teacher: View, labels: torch.Tensor) -> torch.Tensor:
        """The matching loss before its strength: mean over layers and images, a scalar.

        The maps explain the teacher's top class in both networks. The student's are differentiated through their
        channel weights as well; the teacher's are constants.
        """
        with differentiable():
            return self._loss(student, teacher, labels)

    def _loss(self, student: View, teacher: View, labels: torch.Tensor) -> torch.Tensor:
        classes = teacher.logits.argmax(1)
        with torch.no_grad():
            targets = self._maps(teacher, _Target(classes, labels, self._draw))
        found = self._maps(student, _Target(classes, labels, None))
        distance = gradient_distance if self._settings.maps == "loss_gradient" else map_distance
        distances = [distance(ours, theirs) for ours, theirs in zip(found, targets, strict=True)]
        chosen = right_images(teacher.logits, labels) if self._settings.images == "right" else None
        return mean_over(torch.stack(distances).mean(0), chosen)

    def _draw(self, channels: int) -> torch.Tensor:
        draw = bernoulli_weights if self._settings.maps == "random_weights" else kept_channels
        return draw(channels, self._settings.dropped_share, self._generator)

    def _maps(self, view: View, target: _Target) -> list[torch.Tensor]:
        settings = self._settings
        if settings.maps == "loss_gradient":
            return [loss_gradient(view, target.labels)]
        if settings.maps == "input_gradient":
            return [input_gradient_map(view, target.classes, self._rectifier, settings.centred)]
        if settings.maps == "integrated_gradients":
            return [integrated_gradients_map(view, target.classes, self._rectifier, settings.centred, settings.steps)]
        return [self._feature_map(view, layer, target) for layer in self._layers]

    def _feature_map(self, view: View, layer: str, target: _Target) -> torch.Tensor:
        settings, feature_map = self._settings, view.features[layer]
        if settings.maps == "ewa":
            return ewa_map(feature_map)
        drawn = target.draw(feature_map.shape[1]) if target.draw and settings.dropped_share else None
        if drawn is not None:
            drawn = sent(drawn, feature_map.device)
        if settings.maps == "random_weights":
            return random_map(feature_map, drawn)
        gradient = feature_gradient(view, layer, target.classes, settings.centred)
        if drawn is not None:
            gradient = gradient * drawn.to(gradient)[:, None, None]
        build = neuron_map if settings.maps == "neuron" else swa_map
        return build(feature_map, gradient, self._rectifier)
