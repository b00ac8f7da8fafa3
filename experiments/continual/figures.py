"""Figures of an accuracy matrix."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # files, not windows

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

_ANNOTATED = 10  # tasks up to which the cells of the heat map show their numbers


def accuracies(path: Path, matrix: np.ndarray, title: str) -> None:
    """Draws the accuracy on each task from its own training on, and the mean over tasks so far."""
    tasks = np.arange(1, len(matrix) + 1)
    figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(tasks)))
    for task, color in enumerate(colors):
        axis.plot(tasks[task:], 100 * matrix[task:, task], color=color, marker="o", ms=3, lw=1)
    means = [100 * matrix[i, : i + 1].mean() for i in range(len(tasks))]
    axis.plot(tasks, means, color="black", lw=2.5, label="mean over the tasks so far")
    axis.set(xlabel="tasks trained", ylabel="accuracy, %", title=title)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def heat_map(path: Path, matrix: np.ndarray, title: str) -> None:
    """Draws the matrix: a row for each trained task, a column for each evaluated one."""
    count = len(matrix)
    figure, axis = plt.subplots(figsize=(5.6, 4.8), layout="constrained")
    extent = (0.5, count + 0.5, count + 0.5, 0.5)
    image = axis.imshow(100 * matrix, vmin=0, vmax=100, cmap="cividis", extent=extent)
    axis.set(xlabel="accuracy on task", ylabel="after training task", title=title)
    for axis_of_tasks in (axis.xaxis, axis.yaxis):
        axis_of_tasks.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, label="accuracy, %")
    if count <= _ANNOTATED:
        for (i, j), value in np.ndenumerate(matrix):
            color = "black" if value > 0.6 else "white"
            axis.text(
                j + 1, i + 1, f"{100 * value:.0f}", ha="center", va="center", color=color, size=8
            )
    figure.savefig(path, dpi=150)
    plt.close(figure)
