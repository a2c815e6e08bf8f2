"""Resumed runs: they equal uninterrupted ones, and another configuration is refused."""

import os
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.training.checks import check_resume
from espnet_s3router.plugin.training.task import S3RouterASRTask, S3RouterSLUTask


def same(first, second):
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def test_resumed_run_equals_an_uninterrupted_one(experiment, trained_copy, states, tmp_path):
    """Also when the last checkpoint is damaged (hazard 15), and when only the previous one is left."""
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "whole", max_epoch=3))
    for name in ("exp", "damaged", "gone"):
        trained_copy("routing", name)
    whole = states("3epoch.pth", "whole")

    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=3, resume=True))
    assert same(states("3epoch.pth"), whole)

    broken = tmp_path / "damaged" / "checkpoint.pth"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "damaged", max_epoch=3, resume=True))
    assert same(states("3epoch.pth", "damaged"), whole)

    (tmp_path / "gone" / "checkpoint.pth").unlink()
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "gone", max_epoch=3, resume=True))
    assert same(states("3epoch.pth", "gone"), whole)
    logs = [(tmp_path / name / "masks.tsv").read_text().splitlines() for name in ("whole", "gone")]
    assert [line.split("\t")[:4] for line in logs[0]] == [line.split("\t")[:4] for line in logs[1]]


def test_resume_with_candidates_and_a_penalty(experiment, states, tmp_path):
    """Both follow from the base: neither the candidates nor the first mask is in a checkpoint."""
    options = {"method": "routing", "sparsity": 0.1, "candidates": 0.3, "flip_penalty": 0.3}
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "whole", max_epoch=2, mask_conf=options))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=1, mask_conf=options))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=2, mask_conf=options, resume=True))
    assert same(states("2epoch.pth"), states("2epoch.pth", "whole"))
    scores = [tensor for name, tensor in states("2epoch.pth").items() if name.endswith(".scores")]
    assert [len(tensor) for tensor in scores] == [154] * 4  # 30 % of 512


def test_resume_where_accumulation_leaves_a_rest(experiment, states, tmp_path):
    """Four batches and updates of three batches: the rest of an epoch belongs to no update of the next."""
    more = {"accum_grad": 3, "batch_size": 2}
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "whole", max_epoch=2, **more))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=1, **more))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=2, resume=True, **more))
    assert same(states("2epoch.pth"), states("2epoch.pth", "whole"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim_conf": {"lr": 0.02}}, r"optim_conf was \{'lr': 0.01\}, is \{'lr': 0.02\} now"),
        ({"mask_conf": {"method": "routing", "sparsity": 0.3}}, "frontend_conf was .*'sparsity': 0.2.*'sparsity': 0.3"),
        ({"seed": 5}, "seed was 0, is 5 now"),
    ],
    ids=["lr", "sparsity", "seed"],
)
def test_resume_with_another_configuration_is_refused(changes, message, experiment, trained_copy):
    """Before any file of the old run changes."""
    out = trained_copy("routing")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=3, resume=True, **changes))
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_resume_from_another_directory_is_the_same_run(experiment, trained_copy, tmp_path, monkeypatch):
    """A path may be relative or absolute."""
    trained_copy("routing")
    command = experiment(out=tmp_path / "exp", max_epoch=3, resume=True)
    config = Path(command[-1])
    monkeypatch.chdir(tmp_path)
    text = config.read_text("utf-8")
    relative = text.replace(f"{tmp_path.parent}{os.sep}", f"..{os.sep}")
    assert relative != text
    config.write_text(relative, encoding="utf-8")
    S3RouterASRTask.main(cmd=command)
    assert (tmp_path / "exp" / "3epoch.pth").exists()


def test_resume_of_understanding_with_transcripts(experiment, corpus, tmp_path):
    """ESPnet's SLU copies their tokens and two options into model_conf, where a resumed run lacks them at first."""
    tokens = tmp_path / "words.txt"
    shutil.copy(corpus / "tokens.txt", tokens)
    more = {"transcript_token_list": str(tokens), "encoder": "rnn", "batch_type": "sorted"}
    more |= {"encoder_conf": {"hidden_size": 8, "num_layers": 1}}
    for epochs in (1, 2):
        S3RouterSLUTask.main(cmd=experiment(max_epoch=epochs, resume=True, **more))
    assert (tmp_path / "exp" / "2epoch.pth").exists()
    tokens.write_text("<blank>\n<unk>\nB\nA\n<sos/eos>\n", encoding="utf-8")
    with pytest.raises(InputError, match="token 2 was 'A', is 'B' now. Resume with the old transcript_token_list"):
        S3RouterSLUTask.main(cmd=experiment(max_epoch=3, resume=True, **more))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["a", "c", "b"], "token 1 was 'b', is 'c' now"),
        (["a", "b"], "3 tokens were there, 2 are there now"),
        (["a", "b", "c"], None),
    ],
)
def test_a_resumed_run_has_its_old_tokens(tmp_path, tokens, message):
    """In their order, for they name the outputs of the model. The path of the list may change."""
    (tmp_path / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"token_list": ["a", "b", "c"]}), encoding="utf-8")
    (tmp_path / "checkpoint.pth").touch()
    args = Namespace(output_dir=str(tmp_path), resume=True, token_list=str(tmp_path / "tokens.txt"))
    if message is None:
        check_resume(args)
        return
    with pytest.raises(InputError, match=f"other tokens: {message}. Resume with the old token_list.*--asr_tag"):
        check_resume(args)
