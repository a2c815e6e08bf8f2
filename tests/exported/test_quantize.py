"""Dynamic quantisation of products with constant weights, on a graph of one convolution and three products."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from espnet_s3router.errors import InputError
from espnet_s3router.exported import graph
from espnet_s3router.exported.quantize import quantize, sums_in_32_bits


@pytest.fixture
def model(tmp_path):
    """x (1, 16, 16): a convolution, a product with a transposed weight, one with a weight, and one of activations."""
    rng = np.random.default_rng(0)
    weights = {"conv": (16, 16, 3), "upstream/a": (24, 16), "upstream/b": (24, 8)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        helper.make_node("Conv", ["x", "conv"], ["c"], "n0", pads=[1, 1]),
        helper.make_node("Transpose", ["upstream/a"], ["at"], "n1", perm=[1, 0]),
        helper.make_node("MatMul", ["c", "at"], ["d"], "n2"),
        helper.make_node("MatMul", ["d", "upstream/b"], ["e"], "n3"),
        helper.make_node("Transpose", ["e"], ["et"], "n4", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["et", "e"], ["y"], "n5"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size, size]) for name, size in (("x", 16), ("y", 8))]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "toy", ends[:1], ends[1:], initializers), opset_imports=[helper.make_opsetid("", 18)]
    )
    made.ir_version = 10
    return made


def output(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((1, 16, 16)).astype(np.float32)
    return session.run(None, {"x": x})[0]


def test_transposes_of_weights_are_folded(model):
    before, weight = output(model), numpy_helper.to_array(model.graph.initializer[1]).copy()
    assert graph.products(model) == ["n3"]
    assert graph.fold_transposes(model) == ["upstream/a"] and graph.transposed(model) == {"upstream/a"}
    assert graph.products(model) == ["n2", "n3"] and graph.count(model, "Transpose") == 1
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[1]), weight.T)
    assert np.allclose(output(model), before, atol=1e-4)


@pytest.mark.parametrize("reduced", [False, True])
def test_products_with_weights_alone(model, tmp_path, reduced):
    graph.fold_transposes(model)
    graph.save(model, tmp_path / "a.onnx")
    assert quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", reduce_range=reduced) == {
        "int8_products": 2,
        "reduce_range": reduced,
    }
    made = onnx.load(tmp_path / "b.onnx")
    kinds = [node.op_type for node in made.graph.node]
    assert (kinds.count("MatMulInteger"), kinds.count("MatMul"), kinds.count("Conv")) == (2, 1, 1)
    largest = max(
        abs(numpy_helper.to_array(t).astype(int)).max() for t in made.graph.initializer if t.data_type == TensorProto.INT8
    )
    assert 60 <= largest <= 64 if reduced else 120 <= largest <= 128
    exact = output(model)
    assert np.abs(output(made) - exact).max() < 0.1 * np.abs(exact).max()


def test_a_product_that_was_left_out(model, tmp_path, monkeypatch):
    graph.save(model, tmp_path / "a.onnx")
    monkeypatch.setattr(graph, "products", lambda model: ["n2", "n3"])
    with pytest.raises(InputError, match=r"b.onnx: 1 products are in 8 bits and 1 convolutions in 32, expected 2 and 1"):
        quantize(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_large_weights_lie_in_a_second_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "LARGEST", 100)
    before = output(model)
    graph.save(model, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx.data").stat().st_size > 3000
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((1, 16, 16)).astype(np.float32)
    assert np.allclose(session.run(None, {"x": x})[0], before, atol=1e-4)


@pytest.mark.parametrize(
    ("line", "known"),
    [("flags\t\t: fpu avx2 avx512_vnni", True), ("flags\t\t: fpu avx2 avx512f", False), ("Features\t: fp asimddp", True)],
)
def test_processors(tmp_path, line, known):
    (tmp_path / "cpuinfo").write_text(f"model name\t: avx512_vnni\n{line}\n", encoding="utf-8")
    assert sums_in_32_bits(tmp_path / "cpuinfo") is known
    assert not sums_in_32_bits(tmp_path / "absent")
