"""A run on the upstream that a later run left, against models that are put together by hand."""

import json

import pytest
import torch

from espnet_s3router.bin.later_upstream import main
from espnet_s3router.plugin.deployment.bake import load_experiment, outputs
from espnet_s3router.plugin.deployment.route import speech_like

FINETUNE, ROUTING = {"method": "finetune"}, {"method": "routing", "sparsity": 0.2}


@pytest.fixture
def on_later(tmp_path, capsys):
    """on_later(first, later) -> (exit status, what it said, the model that was written)."""

    def write(first, later):
        status = main([*map(str, (*first, *later)), str(out := tmp_path / "out")])
        said = capsys.readouterr()
        made = None if status else load_experiment(out / "config.yaml", out / first[1].name, "asr")[0].eval()
        return status, said.out + said.err, made

    return write


def model_of(files):
    return load_experiment(*files, "asr")[0].eval()


def test_the_old_head_on_finetuned_weights(trained_like, on_later, tmp_path):
    """The hidden states are those of the later run, and the head is that of the first one."""
    first, later = (trained_like(name, seed, mask_conf=FINETUNE) for seed, name in enumerate(("first", "later")))
    status, said, made = on_later(first, later)
    wave, (old, new) = speech_like(0.6), map(model_of, (first, later))
    with torch.no_grad():
        hidden, _ = new.encode(wave[None], torch.tensor([len(wave)]))
        assert torch.equal(outputs(made, wave), old.ctc.log_softmax(hidden)[0])
    assert not torch.equal(outputs(made, wave), outputs(old, wave))
    pairs = zip(old.frontend.parameters(), new.frontend.parameters(), strict=True)
    changed = sum(int((a != b).sum()) for a, b in pairs)
    found = json.loads((tmp_path / "out/changes.json").read_text("utf-8"))
    assert status == 0 and changed and f"changed {changed} of {found['of_weights']} shared weights" in said
    assert (found["weights"], found["bytes"]) == (changed, 4 * changed)


def test_masks_leave_what_another_task_has(trained_like, on_later, tmp_path):
    """Each run has masks of its own on the same weights: the first one gives the outputs that it gave before."""
    first, later = (trained_like(name, seed, mask_conf=ROUTING) for seed, name in enumerate(("first", "later")))
    _, _, made = on_later(first, later)
    wave = speech_like(0.6)
    before, other = (outputs(model_of(files), wave) for files in (first, later))
    assert torch.equal(outputs(made, wave), before) and not torch.equal(before, other)
    assert json.loads((tmp_path / "out/changes.json").read_text("utf-8"))["weights"] == 0


def test_what_does_not_fit_together(trained_like, on_later, tmp_path):
    """Finetuning below the masks of the first run, another upstream, modules that one run has added, and no file."""
    first = trained_like("first", mask_conf=ROUTING)
    for name, options, message in (
        ("finetuned", {"mask_conf": FINETUNE}, "that {} shares and does not hold"),
        ("other", {"mask_conf": ROUTING, "family": "wav2vec2"}, "were trained on different upstreams"),
    ):
        status, said, _ = on_later(first, trained_like(name, **options))
        assert status == 1 and message.format(first[1]) in said, said
    added = trained_like("added", mask_conf={"method": "houlsby", "bottleneck": 4})
    status, said, _ = on_later(added, first)
    assert status == 1 and "has weights that" in said and "lacks" in said
    status, said, _ = on_later(first, (tmp_path / "absent.yaml", first[1]))
    assert status == 1 and "absent.yaml" in said and not (tmp_path / "out").exists()
