"""The networks that are converted, as chains of layers that every program can read, and their training."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ann_to_snn.data import Images
from snnfer.models import UNetEncoder

BATCH, RATE = 32, 3e-3


def small_cnn(*, stride: int) -> nn.Sequential:
    """For digits: two convolutions with ReLU, one hidden layer; of stride 1 with max pooling."""
    layers: list[nn.Module] = []
    for before, after in ((1, 12), (12, 24)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if stride == 1 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 10))


def unet(*, in_channels: int, size: int, width: int, head: nn.Sequential) -> nn.Sequential:
    """The encoder of evTransFER as a chain: convolutions 4 x 4 of stride 2, LeakyReLU 0.2, ReLU at the bottleneck."""
    encoder = UNetEncoder(in_channels=in_channels, size=(size, size), width=width)
    layers = [layer for block in encoder.blocks for layer in block.children()]
    return nn.Sequential(*layers, encoder.bottleneck, encoder.activation, nn.Flatten(), *head)


def evtransfer(*, in_channels: int, size: int, width: int, n_classes: int) -> nn.Sequential:
    """evTransFER's encoder and its head of two fully connected layers."""
    head = nn.Sequential(nn.Linear(8 * width, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, n_classes))
    return unet(in_channels=in_channels, size=size, width=width, head=head)


def vgg(*, in_channels: int, size: int, n_classes: int) -> nn.Sequential:
    """Four convolutions 3 x 3 with batch normalisation, ReLU and max pooling, one hidden layer."""
    channels = (in_channels, 8, 16, 32, 64)
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    hidden = [nn.Flatten(), nn.Dropout(0.25), nn.Linear(channels[-1] * (size // 16) ** 2, 128), nn.ReLU()]
    return nn.Sequential(*layers, *hidden, nn.Dropout(0.25), nn.Linear(128, n_classes))


def train(network: nn.Sequential, images: Images, n_epochs: int, *, augment: bool) -> nn.Sequential:
    """AdamW with one cycle of the learning rate on the cross-entropy; faces are mirrored and shifted."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    n_batches = -(-len(images.train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=n_epochs * n_batches)
    for _ in range(n_epochs):
        for batch in torch.randperm(len(images.train)).split(BATCH):
            x = augmented(images.train[batch]) if augment else images.train[batch]
            loss = F.cross_entropy(network(x), images.train_labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def augmented(x: torch.Tensor) -> torch.Tensor:
    """Images ``[N, C, H, W]``, half of them mirrored, all shifted by up to a sixteenth of their size."""
    margin = x.shape[-1] // 16
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
    padded = F.pad(x, (margin,) * 4, value=float(x.min()))
    corners = torch.randint(0, 2 * margin + 1, (len(x), 2)).tolist()
    height, width = x.shape[2:]
    return torch.stack([image[:, i : i + height, j : j + width] for image, (i, j) in zip(padded, corners, strict=True)])
