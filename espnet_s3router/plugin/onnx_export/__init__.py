"""ONNX models: a trained model as one graph from waveforms to log probabilities, with any batch and length."""

from espnet_s3router.errors import InputError


class NotExportable(InputError):
    """A model has parts that are not written as ONNX."""
