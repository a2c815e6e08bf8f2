"""Commands about smaller models and models in ONNX: `count`, `shrink`, `export`."""
