"""The training job of ``benchmarks.job`` in PyTorch."""

from collections.abc import Callable

import torch

from benchmarks.machine import cores
from benchmarks.setups import CLASSES, IMAGE, Setup
from benchmarks.timing import Run
from benchmarks.torch_baseline.lookbehind import lookbehind_step
from benchmarks.torch_baseline.resnet import ResNet


def runs(setup: Setup, device: str, k: int, rho: float, compiled: bool) -> tuple[Run, Run]:
    """Functions ``(calls) -> None`` that compute gradients and take training steps, and wait."""
    torch.set_num_threads(cores())
    torch.backends.cudnn.benchmark = True
    model = ResNet(CLASSES, setup.widths, setup.blocks)
    model = model.to(device, memory_format=torch.channels_last)
    params = list(model.parameters())
    optimizer = torch.optim.SGD(params, lr=0.01, momentum=0.9)
    gradient = _gradient_fn(torch.compile(model) if compiled else model, params, setup, device)

    def step() -> None:
        lookbehind_step(params, gradient, optimizer, k, rho)

    return _repeated(gradient, device), _repeated(step, device)


def _gradient_fn(
    model: Callable[[torch.Tensor], torch.Tensor],
    params: list[torch.nn.Parameter],
    setup: Setup,
    device: str,
) -> Callable[[], list[torch.Tensor]]:
    height, width, channels = IMAGE
    images = torch.randn(setup.batch, channels, height, width)
    images = images.to(device, memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (setup.batch,), device=device)
    low = setup.compute == "bfloat16"

    @torch.enable_grad()
    def gradient() -> list[torch.Tensor]:
        for param in params:
            param.grad = None
        with torch.autocast(device, torch.bfloat16, enabled=low):
            logits = model(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        return [param.grad for param in params]

    return gradient


def _repeated(call: Callable[[], object], device: str) -> Run:
    def run(calls: int) -> None:
        for _ in range(calls):
            call()
        if device == "cuda":
            torch.cuda.synchronize()

    return run
