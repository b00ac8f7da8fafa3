"""The ResNet of ``experiments.models.resnet`` in PyTorch."""

from collections.abc import Sequence

import torch
from torch import nn


def _conv(channels_in: int, channels: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, each normalized before its activation."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = _conv(channels_in, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, 1)
        self.norm2 = nn.BatchNorm2d(channels)
        if stride == 1 and channels_in == channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(
                _conv(channels_in, channels, 1, stride), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, channels_in, height, width]`` to the block's size and channels."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, stages of blocks, mean over the image, linear classifier."""

    def __init__(self, num_classes: int, widths: Sequence[int], blocks: int):
        super().__init__()
        self.stem = _conv(3, widths[0], 3, 1)
        self.norm = nn.BatchNorm2d(widths[0])
        stages = []
        channels_in = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stages.append(BasicBlock(channels_in, width, 2 if stage > 0 and block == 0 else 1))
                channels_in = width
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels_in, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, channel, height, width]`` images to ``[batch, class]`` logits."""
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        return self.classifier(x.mean(dim=(2, 3)))
