"""The gate of int8 models: what they may lose, in WER, CER or PER."""

import pytest

from espnet_s3router.bin.onnx_export import Recordings, check_gate, gate_of, recordings_of
from espnet_s3router.errors import InputError

TEXTS = {f"u{n}": "ab cd" for n in range(100)}  # 200 words, 500 characters with the spaces
GIVEN = Recordings(dict.fromkeys(TEXTS, "a.wav"), TEXTS)
ONE_WORD = TEXTS | {"u0": "ab cx"}  # 0.5 % WER, 0.2 % CER
TWO_WORDS = ONE_WORD | {"u1": "ab cx"}


def test_a_loss_of_half_a_point_is_allowed():
    gate = gate_of(GIVEN, phones=False, accept_loss=False)
    report = gate(TEXTS, ONE_WORD)
    assert report["error_rates"] == {"wer": 0.0, "cer": 0.0} and report["utterances_with_text"] == 100
    assert report["error_rates_int8"] == {"wer": 0.5, "cer": 0.2}
    assert gate(TWO_WORDS, ONE_WORD)["error_rates_int8"]["wer"] == 0.5  # a gain


def test_more_is_refused_unless_accepted():
    with pytest.raises(
        InputError, match="int8 loses too much: WER 0.00 becomes 1.00 % on 100 utterances, expected at most 0.5"
    ):
        gate_of(GIVEN, phones=False, accept_loss=False)(TEXTS, TWO_WORDS)
    with pytest.raises(InputError, match="PER 0.00 becomes 1.00 %"):
        gate_of(GIVEN, phones=True, accept_loss=False)(TEXTS, TWO_WORDS)
    assert gate_of(GIVEN, phones=False, accept_loss=True)(TEXTS, TWO_WORDS)["error_rates_int8"]["wer"] == 1.0


def test_only_utterances_that_were_compared_count():
    gate = gate_of(GIVEN, phones=False, accept_loss=False)
    few = {"u5": TEXTS["u5"], "more.wav": "no reference"}
    report = gate(few, few)
    assert (report["utterances_with_text"], report["utterances_left_out"]) == (1, 99)
    assert gate({"more.wav": "a"}, {"more.wav": "b"}) == {}


def test_int8_needs_texts():
    with pytest.raises(InputError, match=r"int8 needs recordings with texts.*--check_data DIR"):
        check_gate(Recordings({"a.wav": "a.wav"}), ["fp32", "int8"], False)
    check_gate(Recordings({"a.wav": "a.wav"}), ["fp32", "int8"], True)
    check_gate(Recordings({"a.wav": "a.wav"}), ["fp32"], False)


def test_recordings_are_spread_over_a_directory(tmp_path):
    for name, value in (("wav.scp", "{}.wav"), ("text", "a"), ("utt2spk", "s")):
        (tmp_path / name).write_text("".join(f"u{n} {value.format(n)}\n" for n in range(9)), encoding="utf-8")
    found = recordings_of(["x.wav"], tmp_path, 3)
    assert dict(found.paths) == {"x.wav": "x.wav", "u0": "0.wav", "u3": "3.wav", "u6": "6.wav"}
    assert found.texts == {"u0": "a", "u3": "a", "u6": "a"} and found.left_out == 6
    report = gate_of(found, phones=False, accept_loss=False)(found.texts, found.texts)
    assert (report["utterances_with_text"], report["utterances_left_out"]) == (3, 6)


def test_the_whole_directory_by_default(tmp_path):
    for name, value in (("wav.scp", "{}.wav"), ("text", "a"), ("utt2spk", "s")):
        (tmp_path / name).write_text("".join(f"u{n} {value.format(n)}\n" for n in range(300)), encoding="utf-8")
    found = recordings_of([], tmp_path)
    assert len(found.paths) == len(found.texts) == 300 and found.left_out == 0
