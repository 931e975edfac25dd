"""PyTorch loads our weights by name into the same architecture, and computes the same numbers."""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import torch
    from safetensors.torch import load_file
    from torch import nn
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)  # ctest: skipped.

BIN = None


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 7), nn.Linear(7, 5), nn.Linear(5, 1)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = nn.functional.gelu(layer(x))
        return self.layers[-1](x)


class Constant(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))


class FtTransformer(nn.Module):
    def __init__(self, inputs=5, width=16, heads=4):
        super().__init__()
        self.class_token = Constant(1, width)
        self.tokens = nn.ModuleDict({"scale": Constant(inputs, width), "shift": Constant(inputs, width)})
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        x = x.unsqueeze(-1) * self.tokens["scale"].weight + self.tokens["shift"].weight
        x = torch.cat([self.class_token.weight.expand(len(x), 1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(torch.relu(self.norm(x[:, 0])))


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 8, num_layers=2, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.gru(x.view(-1, 4, 3))[0][:, -1])


class Cnn2d(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)])
        self.hidden = nn.Linear(32 * 3 * 3, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, x):
        x = x.view(-1, 1, 12, 12)
        for conv in self.convs:
            x = nn.functional.max_pool2d(torch.relu(conv(x)), 2)
        return self.head(torch.relu(self.hidden(x.flatten(1))))


class BasicBlock(nn.Module):
    def __init__(self, before, after, stride, groups):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.GroupNorm(groups, after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.GroupNorm(groups, after)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False),
                                            nn.GroupNorm(groups, after))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Resnet18Gn(nn.Module):
    """Named as torchvision's resnet18."""

    def __init__(self, width=16, groups=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.GroupNorm(groups, width)
        before = width
        for stage in range(4):
            after = width << stage
            blocks = nn.Sequential(BasicBlock(before, after, 1 if stage == 0 else 2, groups),
                                   BasicBlock(after, after, 1, groups))
            setattr(self, f"layer{stage + 1}", blocks)
            before = after
        self.fc = nn.Linear(before, 1)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x.view(-1, 3, 16, 16))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class UnetLevel(nn.Module):
    def __init__(self, before, after, reduced_from=None):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm1 = nn.GroupNorm(8, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, after)
        if reduced_from is not None:
            self.reduce = nn.Conv2d(reduced_from, after, 1)

    def forward(self, x):
        return torch.relu(self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))


class Unet2d(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([UnetLevel(1, 8), UnetLevel(8, 16)])
        self.middle = UnetLevel(16, 32)
        self.up = nn.ModuleList([UnetLevel(32, 16, 32), UnetLevel(16, 8, 16)])
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        x = x.view(-1, 1, 16, 16)
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.middle(x)
        for level in self.up:
            x = nn.functional.interpolate(level.reduce(x), scale_factor=2, mode="nearest")
            x = level(torch.cat([skips.pop(), x], 1))
        return self.head(x).flatten(1)


class StateDictTest(unittest.TestCase):
    def check(self, name, module):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([BIN / "write_model", name, directory], check=True)
            module.load_state_dict(load_file(f"{directory}/model.safetensors"), strict=True)
            examples = load_file(f"{directory}/examples.safetensors")
        module.eval()
        with torch.no_grad():
            predictions = torch.sigmoid(module(examples["inputs"]))
        self.assertEqual(predictions.shape, examples["predictions"].shape)
        self.assertLess((predictions - examples["predictions"]).abs().max().item(), 1e-5)
        self.assertGreater(predictions.std().item(), 1e-4)  # Else all of it could be a constant.

    def test_mlp(self):
        self.check("mlp", Mlp())

    def test_ft_transformer(self):
        self.check("ft_transformer", FtTransformer())

    def test_gru(self):
        self.check("gru", Gru())

    def test_cnn2d(self):
        self.check("cnn2d", Cnn2d())

    def test_resnet18_gn(self):
        self.check("resnet18_gn", Resnet18Gn())

    def test_unet2d(self):
        self.check("unet2d", Unet2d())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, type=pathlib.Path, help="folder of the binaries")
    arguments, rest = parser.parse_known_args()
    BIN = arguments.bin.resolve()
    unittest.main(argv=[sys.argv[0], "-v", *rest])
