"""Rows that claim the runs of PARP's authors, against the values of github.com/jefflai108/PARP-wav2vec-PyTorch."""

from pathlib import Path

import pytest

from espnet_s3router.files import read_yaml
from espnet_s3router.methods import resolve

RECIPES = Path(__file__).resolve().parents[2] / "egs2/s3router"
ASTERISK = read_yaml(RECIPES / "asterisk/prune1/conf/methods.yaml")
LIBRISPEECH = read_yaml(RECIPES / "librispeech/prune1/conf/methods.yaml")
INTERVALS = {path.stem: read_yaml(path) for path in (RECIPES / "librispeech/prune1/conf/interval").glob("*.yaml")}


def options(row, over=None, **more):
    """The checked options of a row, with those of a second file and of stage 16."""
    conf = row["frontend_conf"]["mask_conf"] | (over or {"frontend_conf": {"mask_conf": {}}})["frontend_conf"]["mask_conf"]
    return resolve(conf | more)[1]


def test_parp_starts_pretrained_and_moves_as_far_between_prunings():
    """pruning_bert ranks weights and biases of q, k, v, out, fc1 and fc2 together; 5e-5 times 50 updates."""
    row = ASTERISK["parp_authors"]
    parp = options(row)
    assert (parp.start, parp.biases, parp.targets, parp.ranking, parp.form) == (
        None,
        True,
        "all",
        "global",
        "hard_threshold",
    )
    assert row["optim_conf"]["lr"] * parp.interval == pytest.approx(5e-5 * 50)
    assert parp.schedule == "constant"


def test_parp_p_rises_from_the_first_mask_over_the_run():
    """--epoch-interval-for-pruning 5, an epoch of one update, --total-epochs 12000 of --max-update 12000."""
    row = ASTERISK["parp_p_authors"]
    parp = options(row, updates=row["scheduler_conf"]["max_steps"])
    assert (parp.start, parp.biases, parp.ranking, parp.schedule) == (None, True, "global", "linear")
    assert row["optim_conf"]["lr"] * parp.interval == pytest.approx(5e-5 * 5)
    assert parp.ramp(parp.sparsity).at(0) == pytest.approx(parp.initial_sparsity) and parp.initial_sparsity > 0
    assert parp.ramp(parp.sparsity).last == row["scheduler_conf"]["max_steps"]


@pytest.mark.parametrize("conf", [ASTERISK, LIBRISPEECH], ids=["asterisk", "librispeech"])
def test_imp_removes_ten_points_a_round_and_returns_to_the_checkpoint(conf):
    """train_with_imp.py: int(target * 100 / 10) prunings of prune 1 / (10 - step) of the rest, each after a finetuning."""
    imp = options(conf["imp_authors"], start="dense.pth", updates=900)
    assert (imp.rewind, imp.biases, imp.ranking, imp.step) == ("start", True, "global", 0.1)
    assert imp.rounds == 1 + int(imp.sparsity * 100 / 10)
    assert conf["imp_authors"]["scheduler"] == "tristagelr_rounds"


@pytest.mark.parametrize(
    ("split", "parp_updates", "parp_p_updates", "share"),
    [("10min", 50, 5, 1.0), ("1h", 50 * 6, 3 * 6, 1.0), ("10h", 5 * 60, 60, 0.89), ("100h", 5 * 600, 600, 0.89)],
)
def test_intervals_on_librispeech(split, parp_updates, parp_p_updates, share):
    """Epochs of their scripts, in updates of 600 s of audio; the ramp takes total-epochs of the run."""
    updates = {"10min": 13000, "1h": 15000, "10h": 20000, "100h": 80000}[split]
    over = INTERVALS[split]
    parp = options(LIBRISPEECH["parp_authors"], over["parp_authors"])
    parp_p = options(LIBRISPEECH["parp_p_authors"], over["parp_p_authors"], updates=updates)
    assert (parp.interval, parp_p.interval) == (parp_updates, parp_p_updates)
    assert (parp.start, parp_p.start, parp.biases, parp_p.biases) == (None, None, True, True)
    assert parp_p.ramp_until == pytest.approx(share * updates)
