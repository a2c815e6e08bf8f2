"""Sizes of real upstreams without their weights, shares of their cost, and toys in another precision."""

from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import macs, parameters
from espnet_s3router.upstreams.structure import Convolution, Layer, Structure, structure_of

CNN = ("spectrum", "convolutions", "projection")


def share_removed(structure, widths, name):
    """Sparsity by the counts of ``upstreams.count``, of what a constraint of this name limits."""

    def cost(*sizes):
        if name == "parameters":
            return sum(parameters(structure, *sizes).values())
        parts = macs(structure, 10.0, *sizes)
        return sum(n for part, n in parts.items() if name == "macs" or (part in CNN) == (name == "cnn_macs"))

    return 1 - cost(widths) / cost()


def base_structure(layers=12):
    """The sizes of wav2vec 2.0 base (arXiv 2006.11477 sec. 4.2)."""
    shapes = zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), (1, *6 * [512]))
    shared = {"padding": 0, "groups": 1, "bias": False}
    convolutions = [
        Convolution(path=f"{index}", inputs=before, outputs=512, kernel=kernel, stride=stride, **shared)
        for index, (kernel, stride, before) in enumerate(shapes)
    ]
    position = Convolution(path="p", inputs=768, outputs=768, kernel=128, stride=1, padding=64, groups=16, bias=True)
    layer = {"dim": 768, "heads": 12, "head_width": 64, "inner": 3072, "biases": 3, "relative": 0}
    return Structure(
        convolutions=tuple(convolutions), position=(position,), projected=True, normed=True, spectrum=None, window=None,
        layers=tuple(Layer(path=f"{index}", **layer) for index in range(layers)), multiple=2, samples_per_input=1,
        parameters=95_000_000, unused=0,
    )  # fmt: skip


def in_kind(expert, kind):
    """The expert with parameters and inputs of this type. Spectra and feature extractors of transformers make float32."""
    expert.to(kind)
    first = expert.get_submodule(structure_of(expert, family_of(expert)).convolutions[0].path)
    first.register_forward_pre_hook(lambda module, args: (args[0].to(kind),))
    for module in expert.modules():
        if type(module).__name__ == "LogMel":
            module.float()
    return expert
