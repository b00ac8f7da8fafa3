"""The authors' training loop in PyTorch, for a tiny network. Not a test itself.

python -m tests.experiments.official_loop    records where it leads, for test_official.py
"""

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.torch_baseline.lookbehind import lookbehind_step

K, RHO, RATE, STEPS, BATCH, DROPS = 2, 0.05, 0.05, 10, 8, [8, 16, 24]
GOLDEN = Path(__file__).parents[1] / "golden" / "official_loop.json"
SHAPES = {
    "conv.kernel": (6, 2, 3, 3),
    "conv.bias": (6,),
    "classifier.kernel": (3, 6),
    "classifier.bias": (3,),
}


def examples():
    """Images with values 0 to 3 and labels 0 to 2."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 4, (32, 6, 6, 2), dtype=np.uint8)
    return images, rng.integers(0, 3, 32, dtype=np.int32)


def normalized(images):
    return (images.astype(float) - [1, 2]).transpose(0, 3, 1, 2)


def train(start, rows):
    """The weights after a step on each row of examples, by the baseline of the benchmarks."""
    params = [torch.nn.Parameter(torch.tensor(w)) for w in start]
    optimizer = torch.optim.SGD(params, lr=RATE, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, DROPS, gamma=0.1)
    images, labels = examples()
    images, labels = torch.tensor(normalized(images)), torch.tensor(labels.astype(int))
    for batch in rows:

        @torch.enable_grad()
        def gradient():
            kernel, bias, classifier, offset = params
            features = torch.nn.functional.conv2d(images[batch], kernel, bias, padding=1)
            logits = features.relu().mean((2, 3)) @ classifier.T + offset
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
            for param, grad in zip(params, torch.autograd.grad(loss, params), strict=True):
                param.grad = grad
            return [param.grad for param in params]

        lookbehind_step(params, gradient, optimizer, K, RHO)
        schedule.step()
    return [p.detach().numpy() for p in params]


def main():
    rng = np.random.default_rng(1)
    start = [rng.normal(0, 0.3, shape) for shape in SHAPES.values()]
    rows = [rng.choice(32, BATCH, replace=False) for _ in range(STEPS)]
    recorded = {"rows": rows, "start": start, "end": train(start, rows)}
    lists = {name: [x.tolist() for x in arrays] for name, arrays in recorded.items()}
    GOLDEN.write_text(json.dumps(lists) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
