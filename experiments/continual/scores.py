"""Scores of a continual learner, all from its accuracy matrix."""

import numpy as np
from numpy.typing import ArrayLike


def scores(accuracy_matrix: ArrayLike) -> dict[str, float]:
    r"""Average accuracy, forgetting and learning accuracy.

    With :math:`R_{ij}` the accuracy on task j after training on task i, of T tasks:

    .. math::
      \begin{align*}
        \text{average accuracy} &= \tfrac1T \sum_j R_{Tj} \\
        \text{forgetting} &= \tfrac1{T-1} \sum_{j<T} \max_{i<T} (R_{ij} - R_{Tj}) \\
        \text{backward transfer} &= \tfrac1T \sum_j (R_{Tj} - R_{jj}) \\
        \text{learning accuracy} &= \tfrac1T \sum_j R_{jj}
      \end{align*}

    Forgetting is Chaudhry et al.'s and the Lookbehind paper's, relative to the best accuracy the
    task ever had; backward transfer is La-MAML's "BTI", relative to the accuracy just after the
    task, and divides by T although the last task contributes nothing. Where no later task improves
    an old one, :math:`\text{forgetting} = -\text{BTI} \cdot T / (T-1)`.

    Args:
      accuracy_matrix: ``[T, T]``.

    Returns:
      The four scores. With a single task, forgetting is 0.

    References:
      Lopez-Paz and Ranzato, 2017, arXiv 1706.08840, section 2; Chaudhry et al., 2018, arXiv
      1801.10112; Gupta et al. (La-MAML), 2020, arXiv 2007.13904; Riemer et al., 2019, arXiv
      1810.11910 (learning accuracy).
    """
    matrix = np.asarray(accuracy_matrix, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"accuracy_matrix must be [tasks, tasks], got shape {matrix.shape}.")
    final, learned = matrix[-1], np.diag(matrix)
    best_before = matrix[:-1, :-1].max(axis=0, initial=-np.inf)
    drops = best_before - final[:-1]
    return {
        "average_accuracy": float(final.mean()),
        "forgetting": float(drops.mean()) if len(drops) else 0.0,
        "backward_transfer": float((final - learned).mean()),
        "learning_accuracy": float(learned.mean()),
    }
