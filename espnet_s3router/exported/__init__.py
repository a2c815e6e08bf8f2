"""Models in ONNX: the layout of their folder, int8, and running them. Needs neither ESPnet nor s3prl."""
