"""Mixed precision in bfloat16: whether a device computes in it, and whether it computes correctly."""

import logging
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from espnet_s3router.errors import InputError

TOLERANCE = 0.05
"""Largest relative error of a correct convolution. Rounding to bfloat16 gives .003, a faulty kernel about 1."""
FRAMES = 64
"""Output frames of a measured convolution."""


def use_bfloat16(model: nn.Module, device: torch.device, requested: bool | None, option: str) -> bool:
    """True if ``model`` computes in bfloat16 on ``device``: if ``requested``, or for None if that is faster there.

    Its convolutions are measured first. If one is wrong, None warns and gives False.

    Raises:
        InputError: a convolution is wrong and bfloat16 was ``requested`` by ``option``.
    """
    wanted = computes_bfloat16(device) if requested is None else requested
    wrong = wrong_convolution(model, device) if wanted else None
    if wrong and requested:
        raise InputError(
            f"{option}: PyTorch {torch.__version__} computes {wrong} wrongly in bfloat16 on this {device.type}. "
            "Remove the option to compute in float32"
        )
    if wrong:
        logging.warning(
            f"Using float32: PyTorch {torch.__version__} computes {wrong} wrongly in bfloat16 on this {device.type}"
        )
    return wanted and not wrong


def computes_bfloat16(device: torch.device) -> bool:
    """True if the device's matrix products are faster in bfloat16: GPUs from Ampere on, processors with AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def wrong_convolution(model: nn.Module, device: torch.device) -> str | None:
    """The first ``Conv1d`` of ``model`` that is wrong in bfloat16 on ``device``, with its shape and error; None if all are
    right. Some versions of PyTorch compute some shapes wrongly on processors with AMX."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d):
            padding: Any = module.padding
            shape = (module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0], padding)
            error = convolution_error(*shape, module.dilation[0], module.groups, device)
            if error > TOLERANCE:
                channels, groups = f"{module.in_channels} to {module.out_channels} channels", module.groups
                kernel, stride = module.kernel_size[0], module.stride[0]
                return f"{name} ({channels}, kernel {kernel}, stride {stride}, groups {groups}: relative error {error:.2f})"
    return None


@cache
def convolution_error(
    inputs: int, outputs: int, kernel: int, stride: int, padding: Any, dilation: int, groups: int, device: torch.device
) -> float:
    """Relative error of a convolution in bfloat16 against float32 on random values. Kernels differ between input lengths, so
    one length ends with a whole stride and one does not."""
    generator = torch.Generator().manual_seed(0)  # the global random state is left as it is
    weight = torch.randn(outputs, inputs // groups, kernel, generator=generator).to(device)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    field = dilation * (kernel - 1) + 1
    errors = []
    for samples in (field + FRAMES * stride, field + FRAMES * stride + 1):
        signal = torch.randn(2, inputs, samples, generator=generator).to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            exact = functional.conv1d(signal, weight, **options)
            rounded = functional.conv1d(signal.bfloat16(), weight.bfloat16(), **options)
        errors.append(float((rounded.float() - exact).norm() / exact.norm()))
    return max(errors)
