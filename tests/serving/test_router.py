"""Texts of recordings: routes in turn, long recordings in windows, beam search, and the language of a recording."""

import math
import weakref

import numpy as np
import pytest
import soundfile
import torch

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.route import speech_like, write_experiment
from espnet_s3router.serving import Bank, Router, bank, identify
from espnet_s3router.serving.search import Token, best_path_tokens, spelling, words_of
from espnet_s3router.serving.windows import Windows, frames_in_windows

WAVES = [speech_like(seconds, pitch) for seconds, pitch in ((1.3, 150.0), (0.7, 220.0), (2.1, 90.0))]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # ESPnet's prefix scores of impossible tokens
def test_the_text_is_that_of_espnets_inference(trained, tmp_path):
    from espnet2.bin.asr_inference import Speech2Text

    import espnet_s3router.plugin  # noqa: F401
    from espnet_s3router.plugin.best_path import best_path_decoding

    made = trained("routing")
    files = (made / "config.yaml", made / "valid.loss.ave.pth")
    write_experiment(*files, tmp_path / "path.route")
    beam = {"beam_size": 3, "ctc_weight": 1.0, "penalty": 0.1}
    write_experiment(*files, tmp_path / "beam.route", decoding=beam)
    write_experiment(*files, tmp_path / "both.route", decoding=beam | {"ctc_best_path": True})
    router = Router.from_dir(tmp_path)
    with best_path_decoding():
        from espnet2.bin import asr_inference

        by_path = asr_inference.Speech2Text(*map(str, files), ctc_weight=1.0, beam_size=1)
    by_beam = Speech2Text(*map(str, files), lm_weight=0.0, **beam)
    for wave in WAVES:
        assert router.transcribe(wave, "path").text == router.transcribe(wave, "both").text == by_path(wave)[0][0]
        assert router.transcribe(wave, "beam").text == by_beam(wave)[0][0]


@pytest.mark.parametrize(("decoding", "searches"), [({}, False), ({"ctc_weight": 0.3}, True), ({"maxlenratio": 0.5}, True)])
def test_any_option_of_the_search_asks_for_it(abc, monkeypatch, decoding, searches):
    """The beam is then as wide as ESPnet's by default."""
    router, called = Router.from_dir(abc), []
    monkeypatch.setattr(router.bank, "config", lambda name: {"decoding": decoding, "token_type": "char"})
    monkeypatch.setattr("espnet_s3router.serving.router.beam_tokens", lambda *given: called.append(given[2]) or [])
    router.transcribe(WAVES[0], "a")
    assert called == [decoding] * searches


def test_a_batch_of_languages_gives_the_texts_of_single_recordings(abc):
    router = Router.from_dir(abc)
    langs = ["b", "a", "c"]
    alone = [Router.from_dir(abc).transcribe(wave, lang) for wave, lang in zip(WAVES, langs)]
    assert router.transcribe_many(WAVES, langs) == alone
    assert [transcript.lang for transcript in alone] == langs
    assert router.transcribe_many(WAVES[::-1], langs[::-1]) == alone[::-1]


def test_files_of_any_rate(abc, tmp_path):
    soundfile.write(tmp_path / "a.wav", WAVES[0].numpy(), 16000, subtype="FLOAT")
    stereo = np.repeat(WAVES[0].numpy()[:, None], 2, axis=1)
    soundfile.write(tmp_path / "b.wav", stereo, 16000, subtype="FLOAT")
    router = Router.from_dir(abc)
    expected = router.transcribe(WAVES[0], "a")
    assert router.transcribe(tmp_path / "a.wav", "a") == router.transcribe(tmp_path / "b.wav", "a") == expected


def test_bad_calls(abc):
    router = Router.from_dir(abc)
    with pytest.raises(InputError, match="there is no route 'x', expected one of a, b, c"):
        router.transcribe_many(["missing.wav"], ["x"])
    with pytest.raises(InputError, match="no file missing.wav"):
        router.transcribe("missing.wav", "a")
    with pytest.raises(InputError, match="expected mono float samples"):
        router.transcribe(torch.zeros(2, 16000), "a")
    with pytest.raises(InputError, match="the audio holds NaN or infinity"):
        router.transcribe(torch.full((16000,), float("nan")), "a")
    with pytest.raises(InputError, match="got 3 recordings and 1 languages, expected a language for each"):
        router.transcribe_many(WAVES, ["a"])
    with pytest.raises(InputError, match="overlap_s is 2.0 with window_s 1.0"):
        Router(router.bank, window_s=1.0)
    with pytest.raises(InputError, match="overlap_s is 2.0 with window_s inf"):
        Router(router.bank, window_s=float("inf"))
    with pytest.raises(InputError, match="candidates is 0"):
        Router(router.bank, candidates=0)


class TestWindows:
    @pytest.mark.parametrize("samples", [400, 6399, 6400, 6401, 20000, 32123, 64000])
    def test_every_frame_comes_once_and_in_order(self, samples):
        """An encoder that names its frames: their number is their place in the recording."""
        wave = torch.arange(samples, dtype=torch.float32)

        def encode(window):  # as wav2vec2: a frame of 400 samples every 320
            starts = torch.arange(max((len(window) - 400) // 320 + 1, 1)) * 320
            return window[starts][:, None]

        frames, hop = frames_in_windows(encode, wave, Windows(6400, 1600, 320))
        assert hop == 320
        assert torch.equal(frames, encode(wave))

    @pytest.mark.parametrize("samples", [480_001, 720_100, 720_319, 959_040, 1_000_003])
    def test_no_window_is_longer_than_allowed(self, samples):
        """479,680 samples are the most that the graph of Whisper takes."""
        spans = list(Windows(479_680, 32_000, 320).spans(samples))
        assert max(end - start for start, end in spans) <= 479_680 and spans[-1][1] == samples
        assert all(first[1] - second[0] >= 32_000 for first, second in zip(spans, spans[1:]))

    def test_an_encoder_that_merges_frames(self):
        frames, hop = frames_in_windows(lambda w: w[::640, None], torch.arange(32000.0), Windows(6400, 1600, 320))
        assert hop == 640
        assert torch.equal(frames[:, 0], torch.arange(32000.0)[::640])

    def test_a_long_recording_has_the_text_of_its_parts_and_rising_times(self, abc):
        long = torch.cat(WAVES * 3)
        router = Router(Bank.from_dir(abc), window_s=2.0, overlap_s=0.5)
        words = router.transcribe(long, "a").words
        assert words and all(word.start < word.end <= len(long) / 16000 for word in words)
        assert [word.start for word in words] == sorted(word.start for word in words)
        short = router.transcribe(WAVES[0], "a")
        assert short == Router.from_dir(abc).transcribe(WAVES[0], "a")


class TestWords:
    def test_times_and_probabilities_of_the_best_path(self):
        probs = torch.tensor(
            [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.4, 0.6, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        )
        found = best_path_tokens(probs.log(), ["<blank>", "x", "y"])
        assert [(t.text, t.first, t.last) for t in found] == [("x", 1, 2), ("x", 4, 4), ("y", 5, 5)]
        assert found[0].probability == pytest.approx(0.7)

    @pytest.mark.parametrize(
        ("token_type", "tokens", "words"),
        [
            ("char", "a b <space> c <space> <space> d", ["ab", "c", "d"]),
            ("bpe", "▁he llo ▁ w ▁you", ["hello", "w", "you"]),
            ("word", "one two", ["one", "two"]),
            ("phn", "p ʰ a", ["p", "ʰ", "a"]),
        ],
    )
    def test_words(self, token_type, tokens, words):
        assert [spelling(word) for word in words_of([Token(text) for text in tokens.split()], token_type)] == words


class TestLanguage:
    def test_the_surest_route_is_chosen(self, abc):
        router = Router.from_dir(abc)
        for wave in WAVES:
            entropies = {name: float(identify.entropy(router.log_probs(name, wave))) for name in "abc"}
            found = router.identify(wave)
            assert dict(found.ranking) == entropies
            assert found.name == min(entropies, key=entropies.get)
            assert router.transcribe(wave) == router.transcribe(wave, "auto")
            assert router.transcribe(wave).text == router.transcribe(wave, found.name).text
            assert 0 <= found.confidence <= 1

    def test_entropy_is_a_share_of_the_largest(self):
        assert float(identify.entropy(torch.full((4, 7), 1 / 7).log())) == pytest.approx(1.0)
        sure = torch.tensor([[1e-7, 1 - 3e-7, 1e-7, 1e-7]]).log()
        assert float(identify.entropy(sure)) == pytest.approx(0.0, abs=1e-4)

    def test_frames_count_by_their_probability_of_a_token(self):
        unsure, blank = [0.2, 0.4, 0.4], [1 - 2e-6, 1e-6, 1e-6]
        alone = float(identify.entropy(torch.tensor([unsure]).log()))
        share = -sum(p * math.log(p) for p in unsure) / math.log(3)
        assert alone == pytest.approx(share, abs=1e-5)
        assert float(identify.entropy(torch.tensor([blank, unsure, *[blank] * 8]).log())) == pytest.approx(alone, abs=1e-4)

    def test_a_route_that_finds_no_token_is_the_last_choice(self):
        assert float(identify.entropy(torch.tensor([[0.0, -200.0, -200.0]]))) == pytest.approx(1.0)

    def test_the_slope_is_that_of_its_definition(self, abc):
        """Numerically: the mean entropy on W * sum_j a_j M_j, by a_j."""
        names, wave = list("abc"), WAVES[1]
        bank = Bank.from_dir(abc)
        found = identify.slopes_of_entropy(bank, names, wave)
        assert bank.current is None
        bank.restore()
        expert = bank.frontend.expert
        base = {site: parameter.detach().clone() for site, parameter in expert.named_parameters()}
        masks = {}
        for name in names:
            for site, removed in bank.changes(name).removed.items():
                masks[name, site] = torch.ones(base[site].numel())
                masks[name, site][removed.index] = 0.0
        sites = {site for _, site in masks}

        @torch.no_grad()
        def mean_entropy(weights):
            for site in sites:
                mixed = sum(weights[name] * masks[name, site] for name in names).view(base[site].shape)
                expert.get_parameter(site).copy_(base[site] * mixed)
            models = [bank.model(name) for name in names]
            hidden = [model.encode(wave[None], torch.tensor([len(wave)]))[0] for model in models]
            return sum(float(identify.entropy(m.ctc.log_softmax(h)[0])) for m, h in zip(models, hidden)) / len(names)

        step = 0.02
        for name in names:
            ends = [mean_entropy({n: 1 / 3 + (end if n == name else 0.0) for n in names}) for end in (step, -step)]
            assert found[name] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.03), name
        ranked = identify.rank_by_gradient(Bank.from_dir(abc), names, wave)
        assert ranked == sorted(names, key=found.get) and len(set(found.values())) == 3

    def test_the_base_is_unchanged_after_the_slopes(self, abc):
        bank = Bank.from_dir(abc)
        bank.restore()
        before = {name: parameter.detach().clone() for name, parameter in bank.frontend.expert.named_parameters()}
        identify.slopes_of_entropy(bank, list("abc"), WAVES[1])
        assert all(torch.equal(before[name], p) for name, p in bank.frontend.expert.named_parameters())
        assert not any(parameter.requires_grad for parameter in bank.frontend.expert.parameters())

    def test_the_ranking_does_not_depend_on_the_routes_that_stay_ready(self, abc):
        bank = Bank.from_dir(abc, ready_mb=0)
        expected = identify.slopes_of_entropy(Bank.from_dir(abc), list("abc"), WAVES[1])
        assert identify.slopes_of_entropy(bank, list("abc"), WAVES[1]) == expected
        router, other = Router(bank, candidates=2), Router(Bank.from_dir(abc), candidates=2)
        assert router.transcribe(WAVES[1]) == other.transcribe(WAVES[1])

    def test_one_route_at_a_time_is_decoded_for_the_slopes(self, abc, monkeypatch):
        routes, decode, decoded, alive = Bank.from_dir(abc, ready_mb=0), bank.changes_of, [], []

        def counting(*given):
            alive.append(sum(removed() is not None for removed in decoded))
            changes = decode(*given)
            decoded.extend(weakref.ref(removed) for removed in changes.removed.values())
            return changes

        monkeypatch.setattr(bank, "changes_of", counting)
        identify.slopes_of_entropy(routes, list("abc"), WAVES[1])
        assert len(alive) >= 3 and max(alive) <= len(routes.changes("a").removed) + 1  # a loop names one of the last route

    def test_routes_without_a_ctc_head_are_left_out(self, abc, trained_like):
        files = trained_like(name="att", mask_conf={"method": "routing", "sparsity": 0.2}, model_conf={"ctc_weight": 0.0})
        before, numbers = Bank.from_dir(abc), (8, 2)
        expected = [Router(before, candidates=number).identify(WAVES[0]) for number in numbers]
        write_experiment(*files, abc / "att.route")
        with_att = Bank.from_dir(abc)
        assert Router(with_att).left_out() == {"att": "has no CTC head"}
        assert [Router(with_att, candidates=number).identify(WAVES[0]) for number in numbers] == expected
        for name in "abc":
            with_att.drop(name)
        with pytest.raises(InputError, match="auto can choose no route: att has no CTC head. Name one of them"):
            Router(with_att).identify(WAVES[0])

    def test_confidence(self):
        cases = (([0.2], 1.0), ([0.0, 0.5], 1.0), ([0.1, 0.4], 0.75), ([0.0, 0.0], 0.0), ([0.3, 0.3], 0.0))
        for ranking, confidence in cases:
            found = identify.Identified([(str(value), value) for value in ranking])
            assert found.confidence == pytest.approx(confidence), ranking

    def test_a_bank_without_routes(self):
        with pytest.raises(InputError, match="the bank holds no route. Add one"):
            Router(Bank()).transcribe(WAVES[0])

    def test_only_the_most_promising_routes_are_run(self, abc):
        router = Router(Bank.from_dir(abc), candidates=2)
        ranked = identify.rank_by_gradient(router.bank, router.bank.names, WAVES[0])
        assert {name for name, _ in router.identify(WAVES[0]).ranking} == set(ranked[:2])
