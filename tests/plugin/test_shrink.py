"""A run of method hj, its smaller model, and what can be done with that: decode, count, finetune, prune again."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from espnet_s3router.bin.asr_train import main as train
from espnet_s3router.cli.main import main as command
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.bake import NotBakeable, bake_experiment, load_experiment
from espnet_s3router.plugin.deployment.encoding import hidden_states
from espnet_s3router.plugin.deployment.finished import files_of
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.plugin.deployment.route import write_experiment as write_experiment_route
from espnet_s3router.plugin.deployment.route_model import load_model
from espnet_s3router.plugin.deployment.shrink import NothingToShrink, shrink_experiment
from espnet_s3router.plugin.training.optimizers import check_ascent
from espnet_s3router.upstreams.count import macs
from tests.plugin.conftest import HJ

WAVE = speech_like(1.2)


def model_of(folder, name="model.pth"):
    return load_experiment(folder / "config.yaml", folder / name, "asr")[0]


def test_the_run(pruned):
    """The loss has the penalty in it, its numbers are in the log, and the description is that of the pruned model."""
    state = torch.load(pruned / "checkpoint.pth", weights_only=False)
    stats = state["reporter"]["stats"][2]["train"]
    assert {"loss", "loss_ctc", "loss_sparsity", "sparsity_macs"} <= stats.keys()
    groups = state["optimizers"][0]["param_groups"]
    assert [group.get("maximize", False) for group in groups][-2:] == [False, True]
    assert state["optimizers"][0]["method"]["state"]["multipliers"].shape == (1, 2)
    described = json.loads((pruned / "model.json").read_text("utf-8"))
    attached = model_of(pruned, "2epoch.pth").frontend.attached
    assert described["macs"] == pytest.approx(0.6 * sum(macs(attached.structure, 10.0).values()) / 10, rel=0.03)
    assert described["params_total"] < described["params_trained"]  # gates and removed units train too


def test_the_smaller_model_is_the_trained_one(pruned, small):
    assert small.largest_difference <= 1e-5
    trained, smaller = model_of(pruned, "2epoch.pth"), model_of(small.folder)
    before, after = hidden_states(trained, WAVE), hidden_states(smaller, WAVE)
    assert float((before - after).abs().max()) <= 1e-5 * float(before.abs().max())
    assert torch.equal(trained.ctc.ctc_lo.weight, smaller.ctc.ctc_lo.weight)
    parameters = sum(p.numel() for p in smaller.frontend.expert.parameters())
    assert small.pruned["parameters"]["total"] < small.dense["parameters"]["total"]
    assert parameters < sum(p.numel() for p in trained.frontend.expert.parameters())
    assert json.loads((pruned / "model.json").read_text("utf-8"))["macs"] == small.pruned["macs_per_second"]["total"]


def test_a_folder_that_moved(small, tmp_path, monkeypatch, capsys):
    """It is counted, packed and decoded from its new place, though config.yaml names the old one."""
    import shutil

    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "moved"
    shutil.copytree(small.folder, moved)
    config = yaml.safe_load((moved / "config.yaml").read_text("utf-8"))
    config["frontend_conf"]["frontend_conf"]["shrunk"] = "/old/place/upstream.safetensors"
    (moved / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert not command(["count", "moved", "--json"])
    assert json.loads(capsys.readouterr().out)["pruned"]["parameters"] == small.pruned["parameters"]
    assert torch.equal(hidden_states(model_of(moved), WAVE), hidden_states(model_of(small.folder), WAVE))
    words = [f"pack experiment {tmp_path}/p {moved}/config.yaml {moved}/model.pth", "--base_licence MIT"]
    assert not command(" ".join(words).split())
    (moved / "upstream.safetensors").unlink()
    assert command(["count", "moved"])
    assert "there is no such file. Expected a file that s3router shrink wrote" in capsys.readouterr().err


def test_nothing_of_it_is_code(small):
    """Tensors and plain settings: the model file loads with weights_only, the upstream is safetensors."""
    assert sorted(path.name for path in small.folder.iterdir()) == ["config.yaml", "model.pth", "upstream.safetensors"]
    state = torch.load(small.folder / "model.pth", weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    assert not any("upstream.upstream" in key for key in state)  # they lie in upstream.safetensors


def test_count(small, pruned, capsys):
    """The gated model counts as the smaller one, which is compared with the pretrained upstream."""
    figures = []
    for folder, name in ((pruned, "2epoch.pth"), (small.folder, "model.pth")):
        assert not command(["count", str(folder), "--model_file", name, "--json"])
        figures.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    for kind in ("dense", "pruned"):
        assert figures[0][kind] == figures[1][kind]
    assert figures[1]["pruned"]["parameters"]["total"] == small.pruned["parameters"]["total"]
    assert not command(["count", str(small.folder), "--model_file", "model.pth", "--seconds", "5"])
    text = capsys.readouterr().out
    assert (
        "MACs a second (= 2 FLOPs)" in text
        and "feed_forward" in text
        and f"{small.pruned['parameters']['total']:,} (-" in text
    )


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0"])
def test_count_of_no_time(small, seconds, capsys):
    assert command(["count", str(small.folder), "--model_file", "model.pth", "--seconds", seconds])
    assert "expected the length of an utterance" in capsys.readouterr().err


def test_count_of_short_audio(small, capsys):
    assert command(["count", str(small.folder), "--model_file", "model.pth", "--seconds", "0.01"])
    assert "seconds is 0.01, which is too short for one frame" in capsys.readouterr().err


def test_finetuned_after_pruning(small, write_experiment, tmp_path, toy_upstreams):
    """It starts from the smaller model with its head, stays small, and its checkpoint loads by itself."""
    source = {**toy_upstreams["hf_hubert"], "shrunk": str(small.folder / "upstream.safetensors")}
    frontend = {"frontend_conf": source}
    options = {"mask_conf": {"method": "finetune", "train_cnn": True}, "frontend": frontend, "max_epoch": 1}
    assert not train(write_experiment(tmp_path, **options, init_param=[f"{small.folder / 'model.pth'}:ctc:ctc"]))
    model = model_of(tmp_path / "exp", "1epoch.pth")
    start = model_of(small.folder)
    shapes = [[tuple(p.shape) for p in each.frontend.expert.parameters()] for each in (model, start)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(hidden_states(model, WAVE), hidden_states(start, WAVE))
    with pytest.raises(NotBakeable, match="cannot load one with removed units"):
        bake_experiment(tmp_path / "exp/config.yaml", tmp_path / "exp/1epoch.pth", tmp_path / "baked")


def test_pruned_again(small, write_experiment, tmp_path, toy_upstreams):
    source = {**toy_upstreams["hf_hubert"], "shrunk": str(small.folder / "upstream.safetensors")}
    conf = {**HJ, "sparsity": 0.2}
    assert not train(write_experiment(tmp_path, mask_conf=conf, frontend={"frontend_conf": source}, max_epoch=1))
    again = shrink_experiment(*files_of(tmp_path / "exp", "1epoch.pth"), tmp_path / "again", waves=[WAVE])
    assert again.dense["macs_per_second"]["total"] == small.pruned["macs_per_second"]["total"]
    assert again.pruned["macs_per_second"]["total"] < 0.85 * again.dense["macs_per_second"]["total"]
    model_of(again.folder)


def test_the_command(pruned, tmp_path, capsys):
    assert not command(["shrink", str(pruned), "--out", str(tmp_path / "out"), "--model_file", "1epoch.pth"])
    text = capsys.readouterr().out
    assert "target 0.4; outputs differ by" in text and f"--asr_model_file {tmp_path}/out/model.pth" in text
    assert command(["shrink", str(pruned), "--out", str(tmp_path / "out"), "--model_file", "1epoch.pth"])
    assert "exists already" in capsys.readouterr().err


def test_one_of_several_sizes(trained_like, tmp_path, capsys):
    config, file = trained_like(mask_conf=HJ | {"sizes": [0.2]})
    default = shrink_experiment(config, file, tmp_path / "default", waves=[WAVE])
    words = ["shrink", str(config.parent), "--model_file", file.name, "--sparsity", "0.2", "--json"]
    assert not command([*words, "--out", str(tmp_path / "large")])
    large = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (default.target, large["target"]) == (0.4, 0.2) and large["largest_difference"] <= 1e-5
    totals = [done["macs_per_second"]["total"] for done in (default.dense, large["pruned"], default.pruned)]
    assert totals[0] > totals[1] > totals[2]
    assert command([*words[:-2], "0.3", "--out", str(tmp_path / "none")])
    assert "expected one that the run was trained for: 0.2, 0.4" in capsys.readouterr().err


def test_a_size_of_a_run_with_one(pruned, tmp_path):
    with pytest.raises(InputError, match="can be chosen only in a run of method hj with several sizes"):
        shrink_experiment(*files_of(pruned, "2epoch.pth"), tmp_path / "out", sparsity=0.4)


def test_another_upstream(small, tmp_path, toy_upstreams):
    """The pruned model opened with another upstream than the one it was made from."""
    config = yaml.safe_load((small.folder / "config.yaml").read_text("utf-8"))
    config["frontend_conf"]["frontend_conf"] |= toy_upstreams["hubert"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    with pytest.raises(
        InputError, match="made from upstream 'hf_hubert_custom' with fingerprint .* this is 'hubert_custom'"
    ):
        load_experiment(tmp_path / "config.yaml", small.folder / "model.pth", "asr")


def test_masks_on_whole_units(trained, tmp_path, capsys):
    """A run of routing that removes heads and inner units: its route, its smaller model and its counts agree."""
    run = trained("units")
    files = files_of(run, "1epoch.pth")
    small = shrink_experiment(*files, tmp_path / "small", waves=[WAVE])
    assert small.target == small.reached == 0.5 and small.largest_difference <= 1e-5
    assert small.pruned["widths"]["heads"] == (1, 1) and small.pruned["widths"]["inner"] == (16, 16)
    assert json.loads((run / "model.json").read_text("utf-8"))["macs"] == small.pruned["macs_per_second"]["total"]
    write_experiment_route(*files, tmp_path / "a.route")
    before, after = hidden_states(load_model(tmp_path / "a.route"), WAVE), hidden_states(model_of(small.folder), WAVE)
    assert float((before - after).abs().max()) <= 1e-5 * float(before.abs().max())
    assert not command(["count", str(run), "--model_file", "1epoch.pth", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pruned"]["parameters"] == small.pruned["parameters"]


def test_scattered_masks(trained, tmp_path):
    with pytest.raises(NothingToShrink, match="routing with ranking matrix has removed no whole unit"):
        shrink_experiment(*files_of(trained("routing"), "2epoch.pth"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_other_experiments(trained, tmp_path):
    with pytest.raises(InputError, match="method finetune removes no units, so nothing can shrink. Expected method hj"):
        shrink_experiment(*files_of(trained("finetune"), "1epoch.pth"), tmp_path / "out")
    with pytest.raises(InputError, match="holds no valid.cer_ctc.ave.pth. Choose a model with --model_file: .*1epoch.pth"):
        files_of(without_averages(trained("finetune"), tmp_path))
    with pytest.raises(InputError, match="holds no config.yaml"):
        files_of(tmp_path / "nothing")


def without_averages(folder, tmp_path):
    copy = Path(tmp_path, "copy")
    copy.mkdir()
    for name in ("config.yaml", "1epoch.pth"):
        (copy / name).write_bytes((folder / name).read_bytes())
    return copy


def test_hj_is_not_baked(pruned, tmp_path):
    with pytest.raises(NotBakeable, match="Shrink a run with closed units with s3router shrink"):
        bake_experiment(pruned / "config.yaml", pruned / "2epoch.pth", tmp_path / "baked")


def test_attention_of_wavlm(frontend):
    with pytest.raises(InputError, match=r"heads of WavLM share one table.*Set units: \[conv, feed_forward\]"):
        frontend("wavlm", HJ)


def test_an_optimiser_that_cannot_ascend():
    class Descent(torch.optim.SGD):
        def __init__(self, groups, **options):
            super().__init__(groups, **options)
            del self.defaults["maximize"]

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = Descent([{"params": [parameter], "maximize": True}], lr=0.1)
    with pytest.raises(InputError, match="optim is 'descent', which cannot maximise"):
        check_ascent(optimizer, "descent")
