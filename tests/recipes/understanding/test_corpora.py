"""fsc/slu1, snips/slu1 and slurp/slu1, stages 1 to 13 on tiny trees in exactly the layouts of the corpora, with recorded
prompts in the place of their recordings."""

import pytest
from toy_intents import write_fsc, write_slurp, write_snips

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process


def test_fsc_by_the_slu_task(finished, speech, tmp_path):
    """The intent and the transcript, as words, with ESPnet's SLU task and a small Transformer."""
    root = write_fsc(tmp_path / "a corpus/fluent_speech_commands_dataset", speech=speech)
    run = finished("fsc/slu1", "--target", "transformer", "--inference_args", "--maxlenratio -6", FSC=str(root))
    tokens = (run.here / "data/fsc_token_list/word/tokens.txt").read_text().split()
    assert {"activate_lights_none", "change_language_none_none", "shoes"} <= set(tokens)
    rows = run.rows()
    assert {"accuracy", "cer", "wer", "macro_f1"} <= {metric for name, metric in rows if name == "test"}
    for name in ("valid", "test"):
        assert rows[name, "accuracy"] == pytest.approx(run.accuracy(name, "dump", whole=name == "valid"))
    assert rows["test", "wer_hits"] + rows["test", "wer_substitutions"] + rows["test", "wer_deletions"] == 4 + 3 + 3
    (model,) = run.exp.glob("*/valid.acc.ave.pth")
    assert (model.parent / "decode_attention/test/text").is_file()


def test_snips_by_ctc(finished, speech, tmp_path):
    """The intent, one token, and the transcript in characters."""
    root = write_snips(tmp_path / "smart-lights-en-close-field", speech=speech)
    data = f"local.intents.snips --root {root} --data_dir data --held_out 3"
    run = finished("snips/slu1", "--target", "transcript", "--local_data", data, SNIPS=str(root))
    tokens = (run.here / "data/snips_token_list/char/tokens.txt").read_text().split()
    assert {"SWITCHLIGHTON", "SETLIGHTCOLOR", "<space>", "k"} <= set(tokens) and "S" not in tokens
    rows = run.rows()
    assert rows["test", "accuracy"] == pytest.approx(run.accuracy("test"))
    assert {"cer", "wer", "macro_f1"} <= {metric for name, metric in rows if name == "dev"}


def test_slurp_with_entities(finished, speech, tmp_path):
    """Pieces of words, in which every intent, SEP and FILL are one token. One intent begins another."""
    root = write_slurp(tmp_path / "slurp", speech=speech)
    run = finished("slurp/slu1", "--entities", "--nbpe", "36", SLURP=str(root))
    tokens = (run.here / "data/slurp_entities_token_list/bpe_unigram36/tokens.txt").read_text().split()
    assert {"email_query", "email_querycontact", "SEP", "FILL"} <= set(tokens)
    rows = run.rows()
    measures = {"macro_f1", "slu_f1", "slot_type_f1", "slot_value_cer"}
    assert measures <= {metric for name, metric in rows if name == "test_entities"}
    assert rows["test_entities", "accuracy"] == pytest.approx(run.accuracy("test_entities"))
    assert "slu f1 test_entities" in run.printed
    transcripts = [text.rpartition(" SEP ")[2] for text in run.references("test_entities").values()]
    counted = sum(rows["test_entities", f"wer_{kind}"] for kind in ("hits", "substitutions", "deletions"))
    assert counted == sum(len(text.split()) for text in transcripts)


@pytest.mark.parametrize(
    ("recipe", "options", "expected"),
    [
        ("snips/slu1", ("--speakers",), ["train_speakers", "data/snips_speakers_token_list/word_intent/tokens.txt"]),
        ("slurp/slu1", ("--synthetic",), ["train_synthetic", "data/slurp_synthetic_token_list/bpe_unigram500/tokens.txt"]),
        ("fsc/slu1", (), ["train", "data/fsc_token_list/word_intent/tokens.txt"]),
    ],
)
def test_every_choice_has_names_of_its_own(commands, recipe, options, expected):
    made = commands(recipe, *options, "--stop_stage", "5", FSC="conf", SNIPS="conf", SLURP="conf")
    (tokens,) = (command for command in made if "tokens" in command)
    assert [tokens[3].rpartition("/")[2], tokens[4]] == expected
    (prepared,) = (command for command in made if command[1].startswith("local.intents."))
    assert prepared[prepared.index("--root") + 1] == "conf"
    assert "--synthetic" not in options or "--synthetic" in prepared
