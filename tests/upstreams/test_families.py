"""The data on families: recognition by structure, and frames of the standard frontend."""

import pytest
from toys import toy_expert

from espnet_s3router.masks import MaskedTensor, TopK, find_sites, init_scores, inject
from espnet_s3router.upstreams import FAMILIES, family_of
from espnet_s3router.upstreams.families import family_named


def test_a_masked_model_is_recognised():
    """Masks move the weights to other keys."""
    expert = toy_expert()
    family = family_of(expert)
    for site in find_sites(expert, [*family.patterns("all"), family.conv]):
        inject(site, MaskedTensor(init_scores(getattr(site.module, site.tensor), "ori"), TopK(0.1)))
    assert family_of(expert) is family
    assert family.name == "fairseq"


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 399, 400, 719, 720, 16000, 16001])
def test_frames(samples):
    """Against the convolutions one by one (arXiv 2006.11477 sec. 4.2), and ceil(samples / 320) for Whisper, which pads."""
    length = samples
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)):
        length = max(0, (length - kernel) // stride + 1)
    for family in FAMILIES:
        assert family.frames(samples) == (-(-samples // 320) if family.name == "whisper" else length)


@pytest.mark.parametrize(
    ("upstream", "family"),
    [
        ("wav2vec2", "fairseq"),
        ("wav2vec2_large_ll60k", "fairseq"),
        ("data2vec_base_960", "fairseq"),
        ("xls_r_300m", "fairseq"),
        ("xlsr_53", "fairseq"),
        ("hf_wav2vec2_custom", "huggingface"),
        ("s3router_hubert_mini", "huggingface"),
        ("espnet_hubert_base_iter1", "torchaudio"),
        ("hf_whisper_custom", "whisper"),
        ("wav2vec", None),
        ("fbank", None),
    ],
)
def test_family_by_name(upstream, family):
    found = family_named(upstream)
    assert (found and found.name) == family
