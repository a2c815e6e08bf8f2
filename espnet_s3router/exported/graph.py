"""The graph of a model in ONNX: its weights under names of ours, ready for quantisation and for languages in turn."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.exported.layout import OUTPUT
from espnet_s3router.exported.libraries import need

LARGEST = 1900 * 2**20
"""Bytes of weights that a file may hold: its format ends at 2 GiB. More lie in a second file beside it."""
TRANSPOSED = "s3router_transposed"
"""Metadata: names of the weights that the file holds transposed, one on each line."""
BASE = "s3router_base"
"""Metadata of a bank: the fingerprint of the base."""
MATRIX_PRODUCTS = ("MatMul", "Gemm")


def rename_weights(model: Any, rename: Callable[[str], str]) -> None:
    """Give every weight a new name, in place."""
    names = {tensor.name: rename(tensor.name) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)


def fold_transposes(model: Any) -> list[str]:
    """Transpose matrices in the file that the graph would transpose on every run, in place. Returns their names.

    Quantisation finds only weights that go straight into a product.
    """
    onnx = need("onnx")
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = [name for node in model.graph.node for name in node.input]
    folded = []
    for node in [node for node in model.graph.node if node.op_type == "Transpose"]:
        tensor = weights.get(node.input[0])
        if tensor is None or len(tensor.dims) != 2 or uses.count(tensor.name) != 1:
            continue
        array = onnx.numpy_helper.to_array(tensor).T.copy()
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        for other in model.graph.node:
            for place, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[place] = tensor.name
        model.graph.node.remove(node)
        folded.append(tensor.name)
    note(model, {TRANSPOSED: "\n".join(folded)})
    return folded


def note(model: Any, facts: Mapping[str, str]) -> None:
    """Add metadata, in place."""
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)


def name_frames(model: Any) -> None:
    """Name the second axis of the output ``frames``, in place. The exporter writes the formula of its length there."""
    (output,) = (value for value in model.graph.output if value.name == OUTPUT)
    output.type.tensor_type.shape.dim[1].dim_param = "frames"


def set_weights(model: Any, values: Mapping[str, Any]) -> None:
    """Give weights other values, arrays in torch's shape, in place."""
    onnx = need("onnx")
    turned = transposed(model)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            array = values[tensor.name].T.copy() if tensor.name in turned else values[tensor.name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def make_replaceable(model: Any, names: Collection[str]) -> None:
    """Let a caller give other values for these weights with each run, in place.

    Those named ``head/…`` may have another number of tokens, and so may the output.
    """
    onnx = need("onnx")
    for tensor in model.graph.initializer:
        if tensor.name in names:
            shape: list[int | str] = list(tensor.dims)
            if tensor.name.startswith("head/"):
                shape[-1 if tensor.name in transposed(model) else 0] = "tokens"
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    (output,) = (value for value in model.graph.output if value.name == OUTPUT)
    output.type.tensor_type.shape.dim[2].dim_param = "tokens"


def facts_of(model: Any) -> dict[str, str]:
    """The metadata of a file."""
    return {entry.key: entry.value for entry in model.metadata_props}


def transposed(model: Any) -> set[str]:
    """Names of the weights that the file holds transposed."""
    return set(facts_of(model).get(TRANSPOSED, "").split("\n"))


def products(model: Any) -> list[str]:
    """Names of the matrix products with constant weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = (node for node in model.graph.node if node.op_type in MATRIX_PRODUCTS)
    return [node.name for node in nodes if node.input[1] in weights]


def count(model: Any, operator: str) -> int:
    """The number of nodes of an operator."""
    return sum(node.op_type == operator for node in model.graph.node)


def save(model: Any, path: Path) -> None:
    """Write the file, and a second one ``NAME.data`` with the weights if they are too large for it."""
    onnx = need("onnx")
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save_model(model, str(path), save_as_external_data=size > LARGEST, location=f"{path.name}.data")
