"""Scores by utterance key, against counts made by hand and a second edit distance."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_s3router.errors import InputError
from espnet_s3router.results import scoring
from espnet_s3router.results.alignment import align, segment, tokenise

REF = "u1 the cat sat\nu2 a\nu3 one two three four\n"
HYP = "u3 one too three four five\nu1 the cat\nu2\n"  # another order, one empty


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "ref").write_text(REF)
    (tmp_path / "text").write_text(HYP)
    return tmp_path


def score(folder, **options):
    return scoring.score_dir(folder / "ref", folder / "text", folder, **options)


def test_counts_by_hand(texts):
    scored = score(texts)
    counts = json.loads((texts / "counts.json").read_text())
    assert counts["wer"] == {"u1": [2, 0, 1, 0], "u2": [0, 0, 1, 0], "u3": [3, 1, 0, 1]}
    # "the cat sat" against "the cat": <space>, s, a, t are missing; "two" against "too": one substitution
    # and " five" is five insertions.
    assert counts["cer"] == {"u1": [7, 0, 4, 0], "u2": [0, 0, 1, 0], "u3": [17, 1, 0, 5]}
    assert scored["wer"] == scoring.Totals(3, 5, 1, 2, 1, 3)
    assert scored["wer"].rate == pytest.approx(100 * 4 / 8)
    assert scored["cer"].rate == pytest.approx(100 * 11 / 30)
    assert set(scored) == {"wer", "cer"}
    assert not (texts / "score_ter").exists()


def test_word_alignments_are_stored_beside_the_counts(texts):
    score(texts)
    assert json.loads((texts / "word_alignments.json").read_text()) == {"u1": "CCD", "u2": "D", "u3": "CSCCI"}


def test_phone_error_rate_by_hand(tmp_path):
    """Phones of several characters count once: one deletion and one substitution in six phones."""
    (tmp_path / "ref").write_text("u1 tʃ aː o\nu2 s e ɲ\n")
    (tmp_path / "text").write_text("u2 s e n\nu1 tʃ o\n")
    scored = score(tmp_path, phones=True)
    assert scored == {"per": scoring.Totals(2, 4, 1, 1, 0, 2)}
    assert scored["per"].rate == pytest.approx(100 * 2 / 6)
    assert json.loads((tmp_path / "counts.json").read_text()) == {"per": {"u1": [2, 0, 1, 0], "u2": [2, 1, 0, 0]}}
    assert json.loads((tmp_path / "word_alignments.json").read_text()) == {"u1": "CDC", "u2": "CCS"}
    assert (tmp_path / "score_per/result.txt").read_text().startswith("PER 33.33 %")
    assert not [path for path in tmp_path.glob("score_*") if path.name != "score_per"]


def test_space_is_one_character_however_wide():
    assert tokenise(" a \t b\u3000c ", "cer") == ["a", "<space>", "b", "<space>", "c"]
    assert tokenise("a <noise> B", "wer", ["<noise>"]) == ["a", "B"]


def test_result_text_holds_the_total_and_each_alignment(texts):
    score(texts)
    lines = (texts / "score_wer" / "result.txt").read_text().splitlines()
    assert lines[2] == "| Sum/Avg | 3 8 | 62.5 12.5 25.0 12.5 50.0 100.0 |"
    at = lines.index("u1  hits 2 sub 0 del 1 ins 0")
    assert [line.split() for line in lines[at + 1 : at + 3]] == [
        ["ref", "the", "cat", "sat"],
        ["hyp", "the", "cat", "***"],
    ]


def test_espnet_row():
    assert scoring.espnet_row("test", scoring.Totals(3, 5, 1, 2, 1, 3)) == ("|test|3|8|62.5|12.5|25.0|12.5|50.0|100.0|")


@pytest.mark.parametrize(
    ("hyp", "expected"),
    [
        ("u1 a\nu2 a\n", "lacks 1 utterance.*u3"),
        (HYP + "u4 a\n", "beyond the references.*u4"),
        (HYP + "u1 a\n", "line 4.*'u1' occurs twice"),
        ("\n" + HYP, "line 1.*blank"),
    ],
)
def test_keys_that_do_not_match_write_nothing(texts, hyp, expected):
    (texts / "text").write_text(hyp)
    with pytest.raises(InputError, match=expected):
        score(texts)
    assert sorted(path.name for path in texts.iterdir()) == ["ref", "text"]


def test_unreadable_files(texts):
    (texts / "text").write_bytes(b"u1 \xff\n")
    with pytest.raises(InputError, match="not UTF-8"):
        score(texts)
    (texts / "text").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        score(texts)


def test_no_reference_token_has_no_rate(texts):
    (texts / "ref").write_text("u1\nu2\nu3\n")
    with pytest.raises(InputError, match="no reference token"):
        score(texts)
    assert not (texts / "counts.json").exists()


def test_empty_reference_counts_insertions(texts):
    (texts / "ref").write_text("u1\nu2 a\nu3 one\n")
    score(texts)
    assert json.loads((texts / "counts.json").read_text())["wer"]["u1"] == [0, 0, 0, 2]


@pytest.mark.parametrize(
    ("tokens", "cut"),
    [
        (["a", "b", "<space>"], ["a", "b", "<space>", "<unk>", "a"]),
        (["▁", "▁a", "▁ab", "a", "b"], ["▁ab", "▁", "<unk>", "a"]),
        (["ab", "ca"], ["ab", "ca"]),
        (["ab"], ["ab", "<unk>"]),
    ],
)
def test_segment(tokens, cut):
    assert segment("ab ca", tokens) == cut


def test_command_line(texts, capsys):
    files = ["--ref", str(texts / "ref"), "--hyp", str(texts / "text"), "--outdir", str(texts)]
    (texts / "tokens.txt").write_text("\n".join(["<blank>", "<space>", *"abcdefghijklmnopqrstuvwxyz"]) + "\n")
    scoring.main([*files, "--token_list", str(texts / "tokens.txt")])
    rows = capsys.readouterr().out.splitlines()
    assert rows[2] == "|WER|3|8|62.5|12.5|25.0|12.5|50.0|100.0|"
    assert rows[4] == rows[3].replace("CER", "TER")  # a character list: TER is CER
    assert scoring.main([*files, "--nlsyms_txt", str(texts / "none")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def distance(ref, hyp):
    """Levenshtein distance by the textbook recurrence."""
    row = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, 1):
        last, row[0] = row[0], i
        for j, h in enumerate(hyp, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (r != h))
    return row[-1]


tokens = st.lists(st.sampled_from("abc"), max_size=7)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=4))
def test_counts_add_up(pairs):
    refs, hyps = ({str(i): pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    for key, aligned in align(refs, hyps).items():
        hits, sub, dele, ins = aligned.counts
        assert hits + sub + dele == len(refs[key])
        assert hits + sub + ins == len(hyps[key])
        assert sub + dele + ins == distance(refs[key], hyps[key])
        assert [t for t in aligned.ref if t != "***"] == refs[key]
        assert [t for t in aligned.hyp if t != "***"] == hyps[key]


@pytest.mark.filterwarnings("ignore")  # ESPnet's own import
@pytest.mark.parametrize("text", ["yes <noise> no", "<noise>yes no", "ye<noise>s <unk>", "<noise>"])
def test_symbols_are_left_out_as_by_espnet(text):
    from espnet2.text.build_tokenizer import build_tokenizer

    symbols = ["<noise>", "<unk>"]
    options = {"non_linguistic_symbols": symbols, "remove_non_linguistic_symbols": True}
    words = build_tokenizer("word", **options).text2tokens(text)
    characters = build_tokenizer("char", space_symbol=" ", **options).text2tokens(text)
    assert tokenise(text, "wer", symbols) == words
    assert tokenise(text, "cer", symbols) == [c.replace(" ", "<space>") for c in " ".join("".join(characters).split())]
