"""The authors' training loop, written in PyTorch for a tiny network. Not a test itself.

python official_loop.py    records where it leads, for test_official.py
"""

import json
from pathlib import Path

import numpy as np
import torch

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
    """The weights after a step on each row of examples: k times up and down, 2k gradients."""
    params = [torch.nn.Parameter(torch.tensor(w)) for w in start]
    optimizer = torch.optim.SGD(params, lr=RATE, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, DROPS, gamma=0.1)
    images, labels = examples()
    images, labels = torch.tensor(normalized(images)), torch.tensor(labels.astype(int))

    def gradients(batch):
        kernel, bias, classifier, offset = params
        features = torch.nn.functional.conv2d(images[batch], kernel, bias, padding=1)
        logits = features.relu().mean((2, 3)) @ classifier.T + offset
        loss = torch.nn.functional.cross_entropy(logits, labels[batch])
        return torch.autograd.grad(loss, params)

    def put(values):
        with torch.no_grad():
            for param, value in zip(params, values, strict=True):
                param.copy_(value)

    def weights():
        return [p.detach().clone() for p in params]

    for batch in rows:
        slow = weights()
        behind, fast, first = slow, slow, None
        for _ in range(K):
            put(behind)
            grads = gradients(batch)
            length = torch.cat([g.flatten() for g in grads]).norm()
            behind = [w + RHO * g / length for w, g in zip(behind, grads, strict=True)]
            put(behind)
            grads = gradients(batch)
            put(fast)
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
            optimizer.step()
            fast = weights()
            first = first or fast
        put(_interpolated(slow, first, fast))
        schedule.step()
    return [w.numpy() for w in weights()]


def _interpolated(slow, first, fast):
    """Slow weights a step of adaptive alpha, per tensor, towards the fast ones."""
    cosines = [
        torch.cosine_similarity((a - w).flatten(), (b - w).flatten(), 0)
        for w, a, b in zip(slow, first, fast, strict=True)
    ]
    return [w + (c + 1) / 2 * (b - w) for w, b, c in zip(slow, fast, cosines, strict=True)]


def main():
    rng = np.random.default_rng(1)
    start = [rng.normal(0, 0.3, shape) for shape in SHAPES.values()]
    rows = [rng.choice(32, BATCH, replace=False) for _ in range(STEPS)]
    recorded = {"rows": rows, "start": start, "end": train(start, rows)}
    lists = {name: [x.tolist() for x in arrays] for name, arrays in recorded.items()}
    GOLDEN.write_text(json.dumps(lists) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
