"""Makes the reference values of test_references.py with Captum and Zennit, in an environment that has them.

    pip install torch captum zennit numpy
    python tests/references/make.py

Weights, inputs and values are written in the layout of Keras: channels last, kernels (height, width, in, out).
"""

from pathlib import Path

import captum.attr
import numpy as np
import torch
import zennit.attribution
import zennit.canonizers
import zennit.composites
import zennit.layer
import zennit.rules
import zennit.types
from torch import nn

SIZE, CHANNELS, CLASSES, FEATURES = 12, 3, 5, 9
LOW, HIGH = -2.5, 2.5


class Residual(nn.Module):
    """Two residual blocks with batch normalization, average pooling, global average pooling."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(CHANNELS, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.left = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
        )
        self.add, self.relu, self.pool = zennit.layer.Sum(), nn.ReLU(), nn.AvgPool2d(2)
        self.down = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2), nn.BatchNorm2d(12))
        self.short = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, bias=False), nn.BatchNorm2d(12))
        self.add2, self.relu2 = zennit.layer.Sum(), nn.ReLU()
        self.mean, self.flat, self.head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES)

    def forward(self, x):
        y = self.stem(x)
        y = self.pool(self.relu(self.add(torch.stack([self.left(y), y], dim=-1))))
        y = self.relu2(self.add2(torch.stack([self.down(y), self.short(y)], dim=-1)))
        return self.head(self.flat(self.mean(y)))


class ChannelsLast(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


def plain(pool):
    """Convolutions with biases and pooling, two dense layers."""
    return nn.Sequential(
        nn.Conv2d(CHANNELS, 8, 3, padding=1),
        nn.ReLU(),
        pool(2),
        nn.Conv2d(8, 10, 3),
        nn.ReLU(),
        pool(2),
        ChannelsLast(),
        nn.Flatten(),
        nn.Linear(40, 16),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )


def mlp():
    layers = [nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, CLASSES)]
    return nn.Sequential(*layers)


NETWORKS = {
    "residual": Residual,
    "plain": lambda: plain(nn.MaxPool2d),
    "plain_average": lambda: plain(nn.AvgPool2d),
    "mlp": mlp,
}


def randomized(build, seed):
    """A network whose biases and statistics matter."""
    torch.manual_seed(seed)
    network = build().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point() and value.ndim == 1:
                value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return network


def zennit_values(network, x, composite):
    with zennit.attribution.Gradient(
        model=network,
        composite=composite,
        attr_output=lambda output: output * nn.functional.one_hot(output.argmax(1), CLASSES),
    ) as attributor:
        return attributor(x)[1]


def composites(box):
    """Zennit's composites, with batch normalization merged into the convolutions."""
    merge = [zennit.canonizers.SequentialMergeBatchNorm()]
    base = zennit.composites.layer_map_base()
    linear = (zennit.types.Convolution, nn.Linear)

    def of_all(rule):
        return zennit.composites.LayerMapComposite([*base, (linear, rule)], canonizers=merge)

    return {
        "epsilon": of_all(zennit.rules.Epsilon(1e-6)),
        "gamma": of_all(zennit.rules.Gamma(0.25)),
        "alpha1_beta0": of_all(zennit.rules.AlphaBeta(1, 0)),
        "alpha2_beta1": of_all(zennit.rules.AlphaBeta(2, 1)),
        "epsilon_plus": zennit.composites.EpsilonPlus(canonizers=merge),
        "epsilon_plus_flat": zennit.composites.EpsilonPlusFlat(canonizers=merge),
        "epsilon_alpha2_beta1": zennit.composites.EpsilonAlpha2Beta1(canonizers=merge),
        "epsilon_alpha2_beta1_flat": zennit.composites.EpsilonAlpha2Beta1Flat(canonizers=merge),
        "epsilon_gamma_box": zennit.composites.EpsilonGammaBox(*box, canonizers=merge),
        "deep_taylor_box": zennit.composites.SpecialFirstLayerMapComposite(
            [*base, (linear, zennit.rules.ZPlus())], [(linear, zennit.rules.ZBox(*box))], canonizers=merge
        ),
        "guided_backprop": zennit.composites.GuidedBackprop(),
        "deconvnet": zennit.composites.DeconvNet(),
    }


def captum_values_of_paths_and_layers(name, network, x, target):
    values = {}
    for method in ("gausslegendre", "riemann_middle"):
        values[f"integrated_gradients_{method}"] = captum.attr.IntegratedGradients(network).attribute(
            x, torch.full_like(x, 0.4), target=target, n_steps=50, method=method
        )
    window, stride = ((2,), (1,)) if name == "mlp" else ((CHANNELS, 5, 4), (CHANNELS, 3, 2))
    occluded = captum.attr.Occlusion(network).attribute(x, window, stride, baselines=0.4, target=target)
    # All channels are hidden together and have the same value.
    values["occlusion"] = occluded if name == "mlp" else occluded[:, :1]
    if name != "mlp":
        layer = network.relu2 if name == "residual" else network[4]
        values["layer_grad_cam"] = captum.attr.LayerGradCam(network, layer).attribute(
            x, target=target, relu_attributions=True
        )
    return values


def captum_values(name, network, x, target):
    values = captum_values_of_paths_and_layers(name, network, x, target) | {
        "guided_backprop": captum.attr.GuidedBackprop(network).attribute(x, target=target),
        "deconvnet": captum.attr.Deconvolution(network).attribute(x, target=target),
    }
    if name != "plain":
        for baseline in (0.0, 0.4):
            reference = torch.full_like(x, baseline)
            values[f"deeplift_{baseline}"] = captum.attr.DeepLift(network).attribute(x, reference, target=target)
    if name == "residual":
        return values
    rules = {
        "epsilon": captum.attr._utils.lrp_rules.EpsilonRule,
        "gamma_of_positive": captum.attr._utils.lrp_rules.GammaRule,
        "alpha1_beta0_of_positive": captum.attr._utils.lrp_rules.Alpha1_Beta0_Rule,
    }
    for rule, kind in rules.items():
        given = x.abs() if "positive" in rule else x
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.rule = kind()
            elif isinstance(layer, ChannelsLast | nn.Flatten):
                layer.rule = captum.attr._utils.lrp_rules.EpsilonRule()
        chosen = network(given).argmax(1) if "positive" in rule else target
        values[f"{rule}"] = captum.attr.LRP(network).attribute(given, target=chosen)
    return values


def last(array):
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def weights_of(network):
    """Weights and statistics in the layout of Keras."""
    order = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    values = {key: value.numpy() for key, value in network.state_dict().items() if value.ndim}
    return {f"weight.{key}": value.transpose(order[value.ndim]) for key, value in values.items()}


def per_unit(values, network, x):
    """Of a method that Zennit starts from the logit, where the field starts from one."""
    return values / network(x).max(1).values.reshape(-1, *[1] * (x.ndim - 1))


def references(name, build, seed):
    network = randomized(build, seed)
    shape = (2, FEATURES) if name == "mlp" else (2, CHANNELS, SIZE, SIZE)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(100 + seed)).clamp(LOW, HIGH)
    arrays = {"x": last(x.numpy()), "logits": network(x).detach().numpy(), **weights_of(network)}
    box = torch.full((1, *shape[1:]), LOW), torch.full((1, *shape[1:]), HIGH)
    for key, composite in composites(box).items():
        values = zennit_values(network, x.clone().requires_grad_(), composite)
        if key in ("guided_backprop", "deconvnet"):
            values = per_unit(values, network, x)
        arrays[f"zennit.{key}"] = last(values.detach().numpy())
    for key, values in captum_values(name, randomized(build, seed), x, network(x).argmax(1)).items():
        arrays[f"captum.{key}"] = last(values.detach().numpy())
    return arrays


if __name__ == "__main__":
    for seed, (name, build) in enumerate(NETWORKS.items()):
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), **references(name, build, seed))
