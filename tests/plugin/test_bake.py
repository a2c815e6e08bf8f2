"""Baked models: stock ESPnet decodes them alike, and what it could not load is refused before anything is written."""

import pytest
import torch
import yaml
from toys import hf_hubert, speech

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment import bake
from espnet_s3router.plugin.deployment.bake import NotBakeable, bake_experiment, load_stock
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.plugin.training.task import S3RouterSLUTask

BATCH = speech(8000, 5000, seed=1)


def test_understanding_is_pruned_decoded_and_baked(experiment, tmp_path):
    """Spoken language understanding: through ESPnet's own class, and as a plain model."""
    from espnet2.bin.slu_inference import Speech2Understand

    from espnet_s3router.cli.main import main

    encoder = {"encoder": "rnn", "encoder_conf": {"hidden_size": 8, "num_layers": 1}, "batch_type": "sorted"}
    S3RouterSLUTask.main(cmd=experiment(max_epoch=1, mask_conf={"method": "mpi", "sparsity": 0.5}, **encoder))
    made, baked = tmp_path / "exp", tmp_path / "baked"
    assert main(["bake", str(made / "config.yaml"), str(made / "1epoch.pth"), str(baked), "--task", "slu"]) == 0
    files = [(made / "config.yaml", made / "1epoch.pth"), (baked / "config.yaml", baked / "model.pth")]
    ours, plain = (Speech2Understand(*map(str, pair), ctc_weight=1.0, beam_size=2, token_type="char") for pair in files)
    assert type(plain.asr_model.frontend).__name__ == "S3prlFrontend"
    with torch.no_grad():
        encoded = [model.asr_model.encode(BATCH.waves, BATCH.lengths)[0] for model in (ours, plain)]
    assert torch.equal(*encoded)
    (text, *_), (text_of_plain, *_) = ours(BATCH.waves[0])[0], plain(BATCH.waves[0])[0]
    assert text == text_of_plain
    assert sum(int((p == 0).sum()) for p in ours.asr_model.frontend.attached.sites.values()) > 0


def test_upstream_that_stock_espnet_loads_in_half_precision(untrained, tmp_path):
    """Stock ESPnet would fail at the first utterance."""
    (tmp_path / "half").mkdir()
    out = untrained(frontend={"frontend_conf": hf_hubert(tmp_path / "half", half=True)})
    with pytest.raises(
        NotBakeable, match=r"stock ESPnet cannot use its upstream .*half: .*Nothing was baked.*save a copy with from_pretr"
    ):
        bake_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "baked")
    assert not (tmp_path / "baked").exists()


def test_outputs_are_compared_before_a_model_is_put_in_place(untrained, tmp_path, monkeypatch):
    """Those of the model as stock ESPnet builds it, also where the upstream is copied beside it."""
    out = untrained(frontend={"frontend_conf": {"upstream": "s3router_hubert_mini"}}, mask_conf={"method": "finetune"})
    files, waves = (out / "config.yaml", out / "1epoch.pth"), [speech_like(0.6), speech_like(1.1)]
    assert bake_experiment(*files, tmp_path / "baked", waves=waves) == tmp_path / "baked"
    config = yaml.safe_load((tmp_path / "baked/config.yaml").read_text("utf-8"))
    assert config["frontend_conf"]["frontend_conf"]["path_or_url"] == str(tmp_path / "baked/s3router_hubert_mini")

    def broken(*given):
        model = load_stock(*given)
        with torch.no_grad():
            model.ctc.ctc_lo.bias.add_(1e-3)
        return model

    monkeypatch.setattr(bake, "load_stock", broken)
    with pytest.raises(InputError, match="other: was not baked: a model from it gives other outputs than the trained model"):
        bake_experiment(*files, tmp_path / "other", waves=waves)
    assert not (tmp_path / "other").exists()


def test_upstream_that_s3prl_does_not_know(untrained, tmp_path):
    """Stock ESPnet would fail on its name."""
    out = untrained(family="hf_whisper")
    with pytest.raises(NotBakeable, match=r"hf_whisper_custom comes with this package.*nothing was baked.*asr_inference"):
        bake_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "baked")
    assert not (tmp_path / "baked").exists()
