"""What a pack of a whole model is told of its run, beside its files."""

from types import SimpleNamespace

from espnet_s3router.experiments import packing
from espnet_s3router.zoo.write import Packed


def test_a_model_without_a_route_keeps_its_task_and_its_decoding(options, monkeypatch, tmp_path):
    """Without them, a model of intents would open as one that transcribes, and by best path instead of its beam search."""
    (tmp_path / "decode.yaml").write_text("{beam_size: 5, ctc_weight: 0.3}", encoding="utf-8")
    given = options("--task", "slu", "--espnet_task", "slu", "--inference_config", str(tmp_path / "decode.yaml"))
    told = {}

    def pack_model(*files, **facts):
        told.update(facts)
        return Packed(tmp_path / "x.zip", "baked", 1, {})

    monkeypatch.setattr("espnet_s3router.zoo.experiment.pack_model", pack_model)
    monkeypatch.setattr("espnet_s3router.bin.recordings.read_waves", lambda *where: [])
    monkeypatch.setattr(packing, "chosen_run", lambda options: SimpleNamespace(path=tmp_path / "exp"))
    monkeypatch.setattr(packing, "facts_of", lambda run, options: {})
    monkeypatch.setattr(packing, "_route", lambda run, options: "")
    assert packing.pack(given) == tmp_path / "x.zip"
    assert told["task"] == "slu"
    assert told["decoding"] == {"intents": True, "beam_size": 5, "ctc_weight": 0.3}
