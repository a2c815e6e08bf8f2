"""Silence of other libraries: ESPnet and its dependencies print notices while they are imported and while they run."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Within the block nothing is printed. After it, warnings of libraries stay silent; errors are logged."""
    logging.getLogger().setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(espnet|espnet2|s3prl|torch|transformers)\b")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
