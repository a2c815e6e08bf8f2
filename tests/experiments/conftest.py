"""What tests of single parts share: the command line of a grid."""

import pytest

NEEDED = ["--recipe", "r", "--stats_dir", "s", "--train_set", "t", "--valid_set", "v", "--test_sets", "v"]
NEEDED += ["--token_list", "l", "--asr_config", "c"]


@pytest.fixture
def options():
    """options(*words) -> the parsed options of a grid of points."""
    from espnet_s3router.experiments.grid import grid_parser

    return lambda *words: grid_parser().parse_args([*NEEDED, *words])
