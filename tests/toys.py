"""Tiny upstreams of every family, written to a folder as the files that s3prl loads: a few thousand parameters each.

The convolutional frontend has strides 5 * 8 * 8 = 320 samples, as the real models have; the Transformer is two layers
of 16 units with two heads. Weights come from a seed; dropouts are on, so that a test sees when one acts.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml

DIM, INNER, HEADS, LAYERS = 16, 32, 2, 2
CONV = ((8, 10, 5), (8, 8, 8), (8, 8, 8))

_CONV_TEXT = str(list(CONV))
_SIZES = {
    "encoder_layers": LAYERS,
    "encoder_embed_dim": DIM,
    "encoder_ffn_embed_dim": INNER,
    "encoder_attention_heads": HEADS,
    "conv_feature_layers": _CONV_TEXT,
    "conv_pos": 8,
    "conv_pos_groups": 2,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "encoder_layerdrop": 0.5,
    "feature_grad_mult": 0.1,
}
_LARGE_STYLE = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}
_HF_SIZES = {
    "hidden_size": DIM,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "conv_dim": tuple(dim for dim, _, _ in CONV),
    "conv_kernel": tuple(kernel for _, kernel, _ in CONV),
    "conv_stride": tuple(stride for _, _, stride in CONV),
    "num_feat_extract_layers": len(CONV),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.1,
    "layerdrop": 0.5,
    "mask_time_prob": 0.5,
    "mask_time_length": 2,
    "mask_feature_prob": 0.5,
    "mask_feature_length": 2,
    "apply_spec_augment": True,
    "vocab_size": 8,
}


def wav2vec2(folder, *, large=False, seed=0):
    """fairseq style with a group norm (base) or layer norms (large) in the frontend."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(**_SIZES, **(_LARGE_STYLE if large else {}))
    model = _seeded(Wav2Vec2Model, seed, config)
    task = AudioPretrainingConfig(normalize=large)
    return _converted(folder, "wav2vec2_custom", model, config, task)


def conformer(folder):
    """fairseq style with relative positions and a convolution in every layer."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(**_SIZES, layer_type="conformer", attn_type="espnet", pos_enc_type="rel_pos",
                            depthwise_conv_kernel_size=5)  # fmt: skip
    model = _seeded(Wav2Vec2Model, 7, config)
    return _converted(folder, "wav2vec2_custom", model, config, AudioPretrainingConfig(normalize=False))


def hubert(folder):
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig

    config, task = HubertConfig(label_rate=50, **_SIZES), HubertPretrainingConfig(label_rate=50)
    symbols = [[str(index) for index in range(4)]]
    model = _seeded(HubertModel, 1, config, task, symbols)
    return _converted(folder, "hubert_custom", model, config, task, dictionaries_symbols=symbols)


def data2vec(folder):
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig, Data2VecAudioModel
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig

    config = Data2VecAudioConfig(**{**_SIZES, "conv_pos": 3}, pos_conv_depth=2, extractor_mode="layer_norm")
    model = _seeded(Data2VecAudioModel, 2, config)
    model.remove_pretraining_modules()
    source = _converted(folder, "data2vec_custom", model, config, AudioPretrainingConfig(normalize=True))
    state = torch.load(source["path_or_url"])
    state["model_weight"]["_ema"] = {}  # the teacher, which s3prl throws away
    torch.save(state, source["path_or_url"])
    return source


def wavlm(folder):
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    config = WavLMConfig({**_SIZES, "relative_position_embedding": True, "num_buckets": 8, "max_distance": 16,
                          "gru_rel_pos": True})  # fmt: skip
    model = _seeded(WavLM, 3, config)
    path = Path(folder) / "wavlm.pt"
    torch.save({"cfg": vars(config), "model": model.state_dict()}, path)
    return {"upstream": "wavlm_local", "path_or_url": str(path)}


def hf_hubert(folder, *, half=False):
    from transformers import HubertConfig, HubertModel

    model = _seeded(HubertModel, 4, HubertConfig(**_HF_SIZES))
    return _huggingface(folder, "hf_hubert_custom", model.half() if half else model, normalize=False)


def hf_wav2vec2(folder):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(**_HF_SIZES, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True)
    return _huggingface(folder, "hf_wav2vec2_custom", _seeded(Wav2Vec2Model, 5, config), normalize=True)


def hf_whisper(folder, *, part="all", half=False):
    """Windows of a second instead of thirty. ``part``: all (the decoder too), encoder, or generation (and its head)."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    mels, seconds = 8, 1
    config = WhisperConfig(
        **{"d_model": DIM, "encoder_ffn_dim": INNER, "encoder_layers": LAYERS, "encoder_attention_heads": HEADS},
        **{"decoder_ffn_dim": INNER, "decoder_layers": LAYERS, "decoder_attention_heads": HEADS, "init_std": 0.2},
        **{"num_mel_bins": mels, "max_source_positions": 50 * seconds, "max_target_positions": 12, "vocab_size": 24},
        **{"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1, "suppress_tokens": None},
        **{"begin_suppress_tokens": None, "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1},
        encoder_layerdrop=0.5,
    )
    model = _seeded(WhisperForConditionalGeneration, 7, config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # transformers begins with zeros
        torch.manual_seed(8)
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(std=0.1)
    model = {"all": model.model, "encoder": model.model.encoder, "generation": model}[part]
    (model.half() if half else model).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=mels, chunk_length=seconds).save_pretrained(folder)
    return {"upstream": "hf_whisper_custom", "path_or_url": str(folder)}


def espnet_hubert(folder):
    """torchaudio style: a checkpoint of ESPnet's HuBERT pretraining and the config.yaml beside it."""
    from argparse import Namespace

    from espnet2.tasks.hubert import HubertTask

    args = {
        "token_list": ["<blank>", "<unk>", "0", "1", "2", "<sos/eos>"],
        "num_classes": 4,
        "input_size": 1,
        "frontend": None,
        "frontend_conf": {},
        "specaug": None,
        "specaug_conf": {},
        "normalize": None,
        "normalize_conf": {},
        "preencoder": None,
        "preencoder_conf": {},
        "encoder": "torchaudio_hubert",
        "encoder_conf": {
            "extractor_conv_layer_config": [list(layer) for layer in CONV],
            "encoder_embed_dim": DIM,
            "encoder_pos_conv_kernel": 8,
            "encoder_pos_conv_groups": 2,
            "encoder_num_layers": LAYERS,
            "encoder_num_heads": HEADS,
            "encoder_ff_interm_features": INNER,
            "encoder_layer_drop": 0.5,
            "final_dim": 4,
        },
        "model": "torchaudio",
        "model_conf": {},
        "init": None,
    }
    model = _seeded(HubertTask.build_model, 6, Namespace(**args))
    folder = Path(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(args), encoding="utf-8")
    torch.save(model.state_dict(), folder / "valid.loss.ave.pth")
    return {"upstream": "espnet_hubert_custom", "path_or_url": str(folder / "valid.loss.ave.pth")}


TOYS = {
    "wav2vec2": wav2vec2,
    "wav2vec2_large": lambda folder: wav2vec2(folder, large=True),
    "conformer": conformer,
    "hubert": hubert,
    "wavlm": wavlm,
    "data2vec": data2vec,
    "hf_hubert": hf_hubert,
    "hf_wav2vec2": hf_wav2vec2,
    "espnet_hubert": espnet_hubert,
    "hf_whisper": hf_whisper,
}
"""Family name -> function(folder) that writes the files and returns the ``frontend_conf`` of the upstream."""


def _seeded(build, seed, *args):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*args)


def _converted(folder, name, model, config, task, **more):
    path = Path(folder) / f"{name}.pt"
    torch.save({"task_cfg": asdict(task), "model_cfg": asdict(config), "model_weight": model.state_dict(), **more}, path)
    return {"upstream": name, "path_or_url": str(path)}


def _huggingface(folder, name, model, *, normalize):
    from transformers import Wav2Vec2FeatureExtractor

    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=True).save_pretrained(folder)
    return {"upstream": name, "path_or_url": str(folder)}


@dataclass
class Speech:
    """A batch of noise: ``waves`` (batch, samples), ``lengths`` (batch,)."""

    waves: torch.Tensor
    lengths: torch.Tensor

    def alone(self, index):
        """One utterance of the batch without its padding."""
        length = int(self.lengths[index])
        return Speech(self.waves[index : index + 1, :length], self.lengths[index : index + 1])


def speech(*samples, seed=0):
    """Noise of these lengths, zero-padded at the end."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.zeros(len(samples), max(samples))
    for row, length in zip(waves, samples):
        row[:length] = torch.randn(length, generator=generator) * 0.1
    return Speech(waves, torch.tensor(samples))


class ToyExpert(torch.nn.Module):
    """A perceptron with the tensor names of the fairseq family, without s3prl: wave (batch, 320 n) -> (batch, n, DIM).

    Like fairseq's attention it uses the tensors of its projections and never calls their forward.
    """

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.model = nn.Module()
        self.model.feature_extractor = nn.Module()
        self.model.feature_extractor.conv_layers = nn.ModuleList([nn.Sequential(nn.Conv1d(1, 8, 320, stride=320))])
        self.model.layer_norm = nn.LayerNorm(8)
        self.model.post_extract_proj = nn.Linear(8, DIM)
        self.model.encoder = nn.Module()
        self.model.encoder.pos_conv = nn.Conv1d(DIM, DIM, 3, padding=1)
        self.model.encoder.layers = nn.ModuleList([ToyLayer() for _ in range(3)])
        self.model.encoder.layer_norm = nn.LayerNorm(DIM)

    def forward(self, wave):
        model = self.model
        x = model.feature_extractor.conv_layers[0](wave[:, None]).transpose(1, 2)  # (batch, frames, 8)
        x = model.post_extract_proj(model.layer_norm(x))
        x = x + model.encoder.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        for layer in model.encoder.layers:
            x = layer(x)
        return model.encoder.layer_norm(x)


class ToyLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = ToyAttention()
        self.self_attn_layer_norm = torch.nn.LayerNorm(DIM)
        self.fc1 = torch.nn.Linear(DIM, INNER)
        self.fc2 = torch.nn.Linear(INNER, DIM)
        self.final_layer_norm = torch.nn.LayerNorm(DIM)

    def forward(self, x):
        x = self.self_attn_layer_norm(x + self.self_attn(x)[0])
        return self.final_layer_norm(x + self.fc2(torch.relu(self.fc1(x))))


class ToyAttention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (torch.nn.Linear(DIM, DIM) for _ in range(4))
        self.num_heads = HEADS

    def forward(self, x):
        q, k, v = (
            torch.nn.functional.linear(x, p.weight, p.bias).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return torch.nn.functional.linear(mixed, self.out_proj.weight, self.out_proj.bias), weights


def toy_expert(seed=0):
    """A ``ToyExpert`` whose weights come from the seed."""
    return _seeded(ToyExpert, seed)


def counted_by_torch(expert, seconds):
    """MACs of an utterance by ``FlopCounterMode``, with attention as plain matrix products, which it counts on a CPU too."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    wave = torch.randn(int(seconds * 16000), generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        expert([wave])
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2
