"""What is exported gives the hidden states of s3prl's models, alone and beside a longer utterance."""

import pytest
import torch
from toys import speech

from espnet_s3router.deploy.shrink import shrink
from espnet_s3router.plugin.onnx_export import NotExportable
from espnet_s3router.plugin.onnx_export.encoders import encoder_of, longest_of, receptive_field
from espnet_s3router.plugin.onnx_export.log_mel import ConvolutionalLogMel

BATCH = speech(15000, 9000, seed=3)
FAMILIES = ("wav2vec2", "wav2vec2_large", "hubert", "data2vec", "hf_hubert", "hf_wav2vec2", "hf_whisper")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_hidden_states(frontend, family):
    front = frontend(family, {"method": "head_only"})
    expected = [front.upstream(one.waves, one.lengths)[0] for one in (BATCH.alone(0), BATCH.alone(1))]
    states, frames = encoder_of(front.expert, family)(BATCH.waves, BATCH.lengths)
    assert len(states) == len(expected[0])
    for row, count in enumerate(frames.tolist()):
        assert count >= expected[row][0].shape[1] - 2  # s3prl repeats the last frame until each 20 ms have one
        for state, right in zip(states, expected[row]):
            right = right[0, :count]
            assert (state[row, :count] - right).abs().max() <= 1e-5 * right.abs().max()


@pytest.mark.parametrize(
    ("family", "blocks"),
    [
        *((name, False) for name in ("wav2vec2", "wav2vec2_large", "data2vec", "hf_hubert", "hf_wav2vec2", "hf_whisper")),
        *((name, True) for name in ("wav2vec2", "hf_hubert", "hf_whisper")),
    ],
)
@torch.no_grad()
def test_hidden_states_without_units(frontend, family, blocks):
    """Of a smaller model with a block without heads, one without inner units, and norms over fewer channels. With ``blocks``
    their biases are gone too."""
    front = frontend(family, {"method": "hj", "sparsity": 0.5, "updates": 9, "blocks": blocks})
    closed = ("attention_block.0", "feed_forward_block.1") if blocks else ("attention.0", "feed_forward.1")
    generator = torch.Generator().manual_seed(0)
    for group, gate in front.attached.gates.groups.items():
        gate.log_alpha.copy_(torch.randn(gate.log_alpha.shape, generator=generator))
        gate.log_alpha.sub_(1000.0 * (group in closed))
    for name, parameter in front.expert.named_parameters():  # zeros would hide a lost bias
        if name.endswith(("bias", "bias.original")):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    widths = front.attached.widths()
    assert widths.heads[0] == widths.inner[1] == 0 and (blocks or widths.channels[0] < 16)
    expected = [front.upstream(one.waves, one.lengths)[0] for one in (BATCH.alone(0), BATCH.alone(1))]
    states, frames = encoder_of(shrink(front.attached), family)(BATCH.waves, BATCH.lengths)
    for row, count in enumerate(frames.tolist()):
        for state, right in zip(states, expected[row]):
            right = right[0, :count]
            assert (state[row, :count] - right).abs().max() <= 1e-5 * right.abs().max()


@pytest.mark.parametrize(
    ("family", "message"), [("wavlm", "x: WavLM cannot"), ("espnet_hubert", "x: torchaudio-style upst")]
)
def test_families_that_are_not_written(frontend, family, message):
    with pytest.raises(NotExportable, match=message):
        encoder_of(frontend(family, {"method": "head_only"}).expert, "x")


@torch.no_grad()
def test_receptive_field_is_the_shortest_audio_with_a_frame(frontend):
    expert = frontend("hf_hubert", {"method": "head_only"}).expert
    samples = receptive_field(expert)
    assert expert.model.feature_extractor(torch.zeros(1, samples)).shape[2] == 1
    with pytest.raises(RuntimeError):
        expert.model.feature_extractor(torch.zeros(1, samples - 1))
    assert longest_of(expert) is None


@torch.no_grad()
def test_log_mel_by_convolution(frontend):
    log_mel = frontend("hf_whisper", {"method": "head_only"}).expert.model.extractor.log_mel
    expected = log_mel(BATCH.waves)
    assert (ConvolutionalLogMel(log_mel)(BATCH.waves) - expected).abs().max() <= 1e-4
