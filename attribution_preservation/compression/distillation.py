"""Knowledge distillation: compares a student's predictions with its teacher's, both softened by a temperature."""

import torch
import torch.nn.functional as F

from attribution_preservation.models.precision import at_least_float32


def binary_distillation(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence of each label's Bernoulli distribution at temperature T, mean over image-label pairs.

    KL(p || q) with p = sigmoid(y_t / T) and q = sigmoid(y_s / T). It is computed as the difference of two cross
    entropies, which stays finite for any logits.

    Args:
        student, teacher: logits [B, C]; the teacher's are constants.
        temperature: T.

    Returns:
        A non-negative scalar, without the factor T^2.

    Source: Hinton et al. 2015, applied to each label; Park et al. 2020 for T = 4.
    """
    student, teacher = at_least_float32(student), at_least_float32(teacher)
    target = teacher.detach() / temperature
    probability = target.sigmoid()
    cross = F.binary_cross_entropy_with_logits(student / temperature, probability)
    return cross - F.binary_cross_entropy_with_logits(target, probability)


def exclusive_distillation(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence of the distributions over classes at temperature T, mean over images.

    KL(p || q) with p = softmax(y_t / T), q = softmax(y_s / T).

    Args:
        student, teacher: logits [B, C]; the teacher's are constants.
        temperature: T.

    Returns:
        A non-negative scalar, without the factor T^2.

    Source: Hinton et al. 2015.
    """
    student, teacher = at_least_float32(student), at_least_float32(teacher)
    ours, theirs = ((logits / temperature).log_softmax(1) for logits in (student, teacher.detach()))
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
