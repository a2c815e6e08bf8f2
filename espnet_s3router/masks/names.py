"""State-dict keys of parametrized tensors, the one place that knows them.

A mask or a low-rank update on ``OWNER.TENSOR`` moves the weight to ``OWNER.parametrizations.TENSOR.original``. Its own
parameters lie at ``OWNER.parametrizations.TENSOR.0.PARAMETER`` (``torch.nn.utils.parametrize``).
"""

import re

_ADDED = re.compile(r"(.*\.)?parametrizations\.[^.]+\.\d+\..*")
_PARAMETRIZED = re.compile(r"(?P<owner>.*\.)?parametrizations\.(?P<tensor>[^.]+)(\..*)?")


def original_key(name: str) -> str:
    """Key of the weight under the parametrization of the tensor ``name``."""
    return _key(name, "original")


def scores_key(name: str) -> str:
    """Key of the scores of the mask on the tensor ``name``."""
    return parameter_key(name, "scores")


def parameter_key(name: str, parameter: str) -> str:
    """Key of a parameter of the first parametrization on the tensor ``name``."""
    return _key(name, f"0.{parameter}")


def plain_name(key: str) -> str:
    """Path of the tensor that ``key`` belongs to: a key from above loses its parametrization, others stay the same."""
    match = _PARAMETRIZED.fullmatch(key)
    return (match["owner"] or "") + match["tensor"] if match else key


def shared_name(key: str) -> str | None:
    """Path of the weight that ``key`` holds, in a plain upstream. None for what a mask or an update has added, as scores."""
    if _ADDED.fullmatch(key):
        return None
    return plain_name(key) if key.endswith(".original") else key


def _key(name: str, last: str) -> str:
    owner, dot, tensor = name.rpartition(".")
    return f"{owner}{dot}parametrizations.{tensor}.{last}"
