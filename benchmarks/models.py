"""Networks of the LTL paper as ordinary torch modules."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

CLIP = 2.0  # of the teacher's ReLU
# Channels, and the stride of each convolution.
VGG11 = ((64, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2), (512, 1), (512, 2))
_TAIL = ((512, 1), (512, 2), (512, 1), (512, 2))
VGG13 = ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), *_TAIL)
_LAST = ((512, 1), (512, 1), (512, 2))
VGG16 = ((64, 1), (64, 1), (128, 1), (128, 2), (256, 1), (256, 1), (256, 2), *_LAST, *_LAST)


def vgg(
    plan: Sequence[tuple[int, int]], classes: int = 10, width: float = 1.0, side: int = 32
) -> nn.Sequential:
    """Make a VGG: 3 x 3 convolutions with strides in place of pooling, then 512, 512, classes."""
    layers: list[nn.Module] = []
    channels, hidden = 3, round(512 * width)
    for planned, stride in plan:
        wide = round(planned * width)
        conv = nn.Conv2d(channels, wide, 3, stride, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(wide), nn.Hardtanh(0, CLIP)]
        channels, side = wide, side // stride
    layers += [nn.Flatten(), nn.Dropout(0.2)]
    for features in (channels * side * side, hidden):
        layers += [nn.Linear(features, hidden), nn.Hardtanh(0, CLIP), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


class Block(nn.Module):
    """Two convolutions, and a shortcut around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            conv = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """ReLU after the addition, clipped."""
        out = F.hardtanh(self.bn1(self.conv1(x)), 0, CLIP)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.hardtanh(out, 0, CLIP)


class ResNet20(nn.Module):
    """Three groups of three blocks for 3 x 32 x 32 pixels (He et al., 2016)."""

    def __init__(self, classes: int = 10, channels: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        blocks: list[nn.Module] = []
        before = channels
        for group in range(3):
            for place in range(3):
                after = channels * 2**group
                blocks.append(Block(before, after, 2 if group and not place else 1))
                before = after
        self.layers = nn.Sequential(*blocks)
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        out = F.relu(self.bn1(self.conv1(x))).clamp(max=CLIP)
        out = self.layers(out)
        out = F.avg_pool2d(out, out.size()[3])
        logits: Tensor = self.linear(out.view(out.size(0), -1))
        return logits
