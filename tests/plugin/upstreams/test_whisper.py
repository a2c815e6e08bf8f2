"""Whisper's encoder as an upstream: what transformers computes, at any length, whatever lies beside it in the batch."""

import json

import pytest
import torch
from toys import LAYERS, hf_whisper, speech

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.upstreams.build import load_upstream

WINDOW = 16000  # samples that the toy takes at once
CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A toy with its decoder and the layer that predicts tokens."""
    path = tmp_path_factory.mktemp("whisper")
    hf_whisper(path, part="generation")
    return path


@pytest.fixture(scope="module")
def upstream(folder):
    return load_upstream({"upstream": "hf_whisper_custom", "path_or_url": str(folder)})


@torch.no_grad()
def states(upstream, batch):
    """Hidden states of each utterance: a list of (layers, frames, dim)."""
    found, lengths = upstream(batch.waves, batch.lengths)
    return [torch.stack([layer[row, :frames] for layer in found]) for row, frames in enumerate(lengths[0].tolist())]


def features(folder, wave):
    """What transformers makes of a waveform of at most a second: (1, mels, 100), silence included."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    return extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")["input_features"]


def reference(folder):
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(folder).model.encoder.eval()


@pytest.mark.parametrize(("mels", "loudness"), [(80, 1.0), (128, 0.01)])
def test_log_mel_is_that_of_transformers(mels, loudness):
    """With Whisper's real parameters, for loud and for quiet audio; silence appended does not change it."""
    from transformers import WhisperFeatureExtractor

    from espnet_s3router.plugin.upstreams.whisper_encoder import LogMel

    theirs = WhisperFeatureExtractor(feature_size=mels, chunk_length=3)
    ours = LogMel(torch.from_numpy(theirs.mel_filters.T.copy()).float(), theirs.n_fft)
    for samples in (100, 16000, 33333, 48000):
        wave = loudness * speech(samples, seed=samples).waves[0]
        expected = theirs(wave.numpy(), sampling_rate=16000, return_tensors="pt")["input_features"]
        found = ours(torch.nn.functional.pad(wave, (0, 48000 - samples))[None])
        torch.testing.assert_close(found, expected, **CLOSE)
        longer = ours(torch.nn.functional.pad(wave, (0, 64000 - samples))[None])
        torch.testing.assert_close(longer[..., :298], expected[..., :298], **CLOSE)  # transformers cuts the last window


def test_a_full_window_is_what_transformers_computes(folder, upstream):
    batch = speech(WINDOW)
    with torch.no_grad():
        expected = reference(folder)(features(folder, batch.waves[0]), output_hidden_states=True)
    (found,) = states(upstream, batch)
    assert len(expected.hidden_states) == LAYERS + 1
    torch.testing.assert_close(found, torch.cat(expected.hidden_states), **CLOSE)
    torch.testing.assert_close(found[-1:], expected.last_hidden_state, **CLOSE)


@pytest.mark.parametrize("samples", [1000, 5000, 8001, 15680, 15999])
def test_convolutions_see_the_silence_that_transformers_would(folder, upstream, samples):
    """The input of the first layer is that of transformers, whose audio is padded to the whole window."""
    batch = speech(samples, seed=3)
    with torch.no_grad():
        expected = reference(folder)(features(folder, batch.waves[0]), output_hidden_states=True).hidden_states[0][0]
    (found,) = states(upstream, batch)
    assert found.shape[1] == -(-samples // 320)
    torch.testing.assert_close(found[0], expected[: found.shape[1]], **CLOSE)


def test_an_utterance_does_not_depend_on_its_batch(upstream):
    batch = speech(2 * WINDOW + 4000, 900, 8000, WINDOW, WINDOW + 1, 2 * WINDOW, seed=5)
    together = states(upstream, batch)
    assert [len(found[0]) for found in together] == [113, 3, 25, 50, 51, 100]
    for index, found in enumerate(together):
        (alone,) = states(upstream, batch.alone(index))
        torch.testing.assert_close(found, alone, **CLOSE)


def test_long_recordings_go_through_in_windows(upstream):
    batch = speech(2 * WINDOW + 4000, seed=6)
    (whole,) = states(upstream, batch)
    pieces = [states(upstream, type(batch)(piece, torch.tensor([piece.shape[1]]))) for piece in batch.waves.split(WINDOW, 1)]
    torch.testing.assert_close(whole, torch.cat([piece for (piece,) in pieces], dim=1), **CLOSE)


def test_cache_and_recomputation_of_long_recordings(frontend):
    batch = speech(2 * WINDOW + 4000, 9000, seed=7)
    plain = frontend("hf_whisper")
    for options in ({"cache_frozen": 1}, {"recompute": True}):
        model = frontend("hf_whisper", **options).train()
        for _ in range(2):
            feats, lengths = model(batch.waves, batch.lengths)
            expected, _ = plain(batch.waves, batch.lengths)
            for row, frames in enumerate(lengths.tolist()):
                torch.testing.assert_close(feats[row, :frames], expected[row, :frames], **CLOSE)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("part", ["all", "encoder", "generation"])
def test_any_part_in_any_precision(part, half, tmp_path, folder):
    """The encoder alone is loaded, in float32."""
    found = load_upstream(hf_whisper(tmp_path, part=part, half=half))
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    expected = reference(folder)
    if half:
        expected = expected.half().float()
    frozen = expected.embed_positions.weight.numel()  # a table, no parameter here
    assert sum(p.numel() for p in found.parameters()) == sum(p.numel() for p in expected.parameters()) - frozen
    with torch.no_grad():
        batch = speech(WINDOW, seed=8)
        wanted = expected(features(tmp_path, batch.waves[0])).last_hidden_state
    torch.testing.assert_close(states(found, batch)[0][-1:], wanted, **CLOSE)


def test_weights_in_several_files(tmp_path, upstream):
    source = hf_whisper(tmp_path)
    from transformers import WhisperModel

    WhisperModel.from_pretrained(tmp_path).save_pretrained(tmp_path, max_shard_size="10KB")
    (tmp_path / "model.safetensors").unlink()
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    batch = speech(9000)
    assert torch.equal(states(load_upstream(source), batch)[0], states(upstream, batch)[0])


def test_s3prl_finds_it():
    from s3prl.nn import S3PRLUpstream

    import espnet_s3router.plugin  # noqa: F401

    assert "hf_whisper_custom" in S3PRLUpstream.available_names()


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), encoding="utf-8")


def without_a_layer(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "encoder.layers.1.fc2" not in k}, folder / "model.safetensors")


SPOILT = {
    "no config": (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
    "no features": (lambda f: (f / "preprocessor_config.json").unlink(), r"has no preprocessor_config\.json"),
    "no JSON": (
        lambda f: (f / "config.json").write_text("{"),
        "cannot be read: .*Expected a Hugging Face directory of a Whisper",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"holds no model\.safetensors\. Expected"),
    "hubert": (lambda f: edit(f / "config.json", model_type="hubert"), "model_type is 'hubert', expected 'whisper'"),
    "relu": (
        lambda f: edit(f / "config.json", activation_function="relu"),
        "activation_function is 'relu', expected 'gelu'",
    ),
    "other hop": (lambda f: edit(f / "preprocessor_config.json", hop_length=320), "hop_length is 320, expected 160"),
    "other width": (lambda f: edit(f / "config.json", encoder_ffn_dim=48), "could not be loaded.*size mismatch"),
    "other mels": (lambda f: edit(f / "config.json", num_mel_bins=80), "num_mel_bins is 80, expected 8"),
    "lacking": (without_a_layer, r"lacks 2 weights of the upstream, for example encoder\.layers\.1\.fc2"),
    "no safetensors": (lambda f: (f / "model.safetensors").write_bytes(b"hello"), "could not be loaded"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_no_whisper(case, tmp_path):
    spoil, message = SPOILT[case]
    source = hf_whisper(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        load_upstream(source)


def test_an_id_that_the_hub_cannot_give():
    """The tests run offline; the message names what was asked for."""
    with pytest.raises(InputError, match="could not be loaded from 'nobody/whisper'"):
        load_upstream({"upstream": "hf_whisper_custom", "path_or_url": "nobody/whisper"})


def test_speech_louder_than_its_neighbour_changes_nothing(upstream):
    """Levels are limited relative to the loudest moment of the same utterance, not of the batch."""
    batch = speech(8000, 8000, seed=9)
    (before, _) = states(upstream, batch)
    batch.waves[1] *= 1e4
    (after, _) = states(upstream, batch)
    torch.testing.assert_close(after, before, **CLOSE)
