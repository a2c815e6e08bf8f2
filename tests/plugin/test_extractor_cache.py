"""The cache of the frozen convolutional frontend."""

import pytest
import torch
from toys import TOYS, speech

from espnet_s3router.plugin.extractor_cache import ExtractorCache

BATCH = speech(8000, 5000, seed=1)
CACHED = [name for name in TOYS if name != "espnet_hubert"]


def test_cache_stops_at_its_limit():
    """A full cache computes; it neither grows nor forgets."""
    conv = torch.nn.Conv1d(1, 512, 320, stride=320)
    extractor = torch.nn.Module()
    extractor.forward = lambda waves: conv(waves[:, None])
    cache = ExtractorCache(extractor, 1)
    batch = speech(*[320 * 200] * 4)  # 512 * 200 * 4 bytes = 0.39 MiB each: two fit
    with torch.no_grad():
        first = extractor.forward(batch.waves)
        again = extractor.forward(batch.waves)
        assert torch.equal(first, again) and torch.equal(first, torch.cat([conv(w[None, None]) for w in batch.waves]))
    assert (cache.hits, cache.misses) == (2, 6)
    assert cache._used <= 2**20


@torch.no_grad()
def features(frontend, batch=BATCH):
    return frontend(batch.waves, batch.lengths)[0]


@pytest.mark.parametrize("family", CACHED)
def test_cache_equals_computing_alone(family, frontend):
    """Cached features are those of the utterance without its batch. In wav2vec2 base, the group norm over time would
    otherwise see the padding."""
    model, plain = frontend(family, cache_frozen=8), frontend(family)
    calls = []
    extractor = model.expert.get_submodule(model.family.extractor)
    cached = extractor.forward
    extractor.forward = lambda *args, **kwargs: calls.append(cached(*args, **kwargs)) or calls[-1]
    features(model)
    for index in range(2):
        alone = BATCH.alone(index)
        found = []
        hook = plain.expert.get_submodule(plain.family.extractor).register_forward_hook(
            lambda module, inputs, output, found=found: found.append(output)
        )
        single = features(plain, alone)
        hook.remove()
        frames = found[0].shape[2]
        assert torch.equal(calls[0][index : index + 1, :, :frames], found[0])
        assert torch.equal(features(model, alone), single)
    assert (model.cache.hits, model.cache.misses) == (2, 2)


@pytest.mark.parametrize("family", ["hf_hubert", "wav2vec2"])
def test_cache_of_training_in_bfloat16_is_not_that_of_evaluation(family, frontend, right_bfloat16):
    """A recording may be in the training set and in the validation set."""
    model = frontend(family, cache_frozen=8, autocast="bfloat16").train()
    model(BATCH.waves, BATCH.lengths)
    assert torch.equal(features(model.eval()), features(frontend(family, cache_frozen=8)))


@pytest.mark.parametrize("family", CACHED)
def test_cache_hits_in_the_second_epoch(family, frontend):
    """The second epoch sees the same features as the first, in another batch too."""
    model = frontend(family, cache_frozen=8).train()
    first = features(model)
    again = features(model)
    assert (model.cache.hits, model.cache.misses) == (2, 2)
    assert torch.equal(first, again)
    swapped = speech(8000, 5000, seed=1)
    swapped.waves, swapped.lengths = swapped.waves.flip(0), swapped.lengths.flip(0)
    features(model, swapped)
    assert (model.cache.hits, model.cache.misses) == (4, 2)


def test_utterances_shorter_than_fifty_milliseconds(frontend):
    """s3prl pads a batch in which every utterance is too short."""
    short = speech(500, 400)
    model = frontend("hubert", cache_frozen=1)
    plain = frontend("hubert")
    with torch.no_grad():
        feats, lengths = model(short.waves, short.lengths)
        assert feats.shape[:2] == (2, 2) and lengths.tolist() == [2, 2]
        assert feats.isfinite().all()
        assert plain(short.waves, short.lengths)[0].shape == feats.shape
