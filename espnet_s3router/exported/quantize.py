"""int8 models: the matrices of products become 8-bit numbers, and everything else stays as it is.

Convolutions stay in 32 bits: in 8 bits they lose accuracy and time (onnxruntime#12854). The inputs of a product are
quantised when it runs (dynamic quantisation), so no recordings are needed to prepare the file.
"""

import logging
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.exported import graph
from espnet_s3router.exported.libraries import need

FLAGS = ("avx512_vnni", "avx_vnni", "avx512vnni", "amx_int8", "asimddp", "i8mm")
"""Names in /proc/cpuinfo of instructions that sum products of 8-bit numbers in 32 bits."""


def sums_in_32_bits(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True if this processor multiplies 8-bit numbers without overflow. False if the system does not tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    words = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    return any(flag in words for flag in FLAGS)


def quantize(source: Path, target: Path, *, reduce_range: bool | None = None) -> dict[str, int | bool]:
    """Write the int8 model of a model, and return how many products it holds in 8 bits.

    ``reduce_range``: weights in 7 bits, for processors that add products of 8-bit numbers in 16 bits. None: as this
    processor needs it. Raises InputError if a product was left out, or if a convolution was quantised.
    """
    onnx = need("onnx")
    need("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    reduced = not sums_in_32_bits() if reduce_range is None else reduce_range
    before = onnx.load(str(source))
    expected = len(graph.products(before))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to preprocess the model, which the exporter has done
    try:
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=list(graph.MATRIX_PRODUCTS),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=reduced,
            extra_options={"MatMulConstBOnly": True},
            use_external_data_format=source.with_name(f"{source.name}.data").exists(),
        )
    finally:
        root.setLevel(level)
    after = onnx.load(str(target))
    found = graph.count(after, "MatMulInteger")
    if found != expected or graph.count(after, "Conv") != graph.count(before, "Conv"):
        raise InputError(
            f"{target}: {found} products are in 8 bits and {graph.count(after, 'Conv')} convolutions in 32, expected "
            f"{expected} and {graph.count(before, 'Conv')}. This version of onnxruntime quantises otherwise: install another"
        )
    return {"int8_products": found, "reduce_range": reduced}
