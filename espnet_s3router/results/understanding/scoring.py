"""Scores of one decoded dataset whose texts begin with an intent.

python -m espnet_s3router.results.understanding.scoring --ref dump/raw/test/text --hyp DIR/text --outdir DIR
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import write_atomic
from espnet_s3router.results.alignment import Alignment, align, check_keys, tokenise
from espnet_s3router.results.rows import ACCURACY, shown_value
from espnet_s3router.results.scoring import MEASURES, Totals, write_scores
from espnet_s3router.results.understanding.entities import entity_measures, entity_report, holds_entities, parse
from espnet_s3router.results.understanding.intents import align_intents, intent_report, macro_f1, split_text
from espnet_s3router.text_files import read_symbols, read_text


def read_hypotheses(hyp: str | Path, refs: Mapping[str, str]) -> dict[str, str]:
    """The hypotheses of all references, in their order, by key. Missing ones are empty, and a notice counts them.

    Raises InputError for a hypothesis without a reference.
    """
    hyps = read_text(hyp)
    check_keys(hyps.keys() | refs.keys(), refs, f"{hyp}")
    if missing := [key for key in refs if key not in hyps]:
        print(
            f"notice: {hyp} lacks {len(missing)} of {len(refs)} utterances, which count as wrong: {missing[0]} …",
            file=sys.stderr,
        )
    return {key: hyps.get(key, "") for key in refs}


def score_understanding(
    ref: str | Path, hyp: str | Path, outdir: str | Path, *, nlsyms: Sequence[str] = ()
) -> dict[str, Totals]:
    """Score one decoded dataset, with the files of ``scoring.score_dir`` and ``measures.json``.

    The accuracy of intents is a metric, and macro-F1 a measure. If a transcript follows, its WER and CER are metrics, too.
    Entities have measures of their own (see ``entities``). ``nlsyms``: words that WER and CER leave out.
    """
    refs = read_text(ref)
    hyps = read_hypotheses(hyp, refs)
    texts = [{key: split_text(text) for key, text in side.items()} for side in (refs, hyps)]
    intents = [{key: text.intent for key, text in side.items()} for side in texts]
    rests = [{key: text.rest for key, text in side.items()} for side in texts]
    alignments: dict[str, Mapping[str, Alignment]] = {ACCURACY: align_intents(*intents)}
    measures = {"macro_f1": macro_f1(*intents)}
    if holds_entities(rests[0].values()):
        parsed = [{key: parse(rest) for key, rest in side.items()} for side in rests]
        found = [{key: entities for key, (entities, _) in side.items()} for side in parsed]
        measures |= entity_measures(*found)
        write_atomic(Path(outdir, "score_entities", "result.txt"), entity_report(*found))
        rests = [{key: transcript for key, (_, transcript) in side.items()} for side in parsed]
    if any(rests[0].values()):
        alignments |= align_transcripts(rests, nlsyms)
    write_atomic(Path(outdir, MEASURES), json.dumps(measures) + "\n")
    return write_scores(alignments, Path(outdir), {ACCURACY: intent_report(*intents)})


def score_tasks(
    ref: str | Path, hyp: str | Path, outdir: str | Path, task_of: Mapping[str, str], *, nlsyms: Sequence[str] = ()
) -> dict[str, Totals]:
    """Score a dataset of two tasks: accuracy and macro-F1 of utterances of task ``slu``, WER and CER of those of ``asr``.

    ``task_of``: utterance -> task. Raises InputError for an utterance without one of the two.
    """
    refs = read_text(ref)
    hyps = read_hypotheses(hyp, refs)
    if strange := [key for key in refs if task_of.get(key) not in ("asr", "slu")]:
        raise InputError(f"the task of {strange[0]} is {task_of.get(strange[0])!r}, expected asr or slu in utt2category")
    sides: dict[str, list[dict[str, str]]] = {
        task: [{key: text for key, text in side.items() if task_of[key] == task} for side in (refs, hyps)]
        for task in ("asr", "slu")
    }
    alignments: dict[str, Mapping[str, Alignment]] = {}
    reports = {}
    if sides["slu"][0]:
        intents = [{key: split_text(text).intent for key, text in side.items()} for side in sides["slu"]]
        alignments[ACCURACY], reports[ACCURACY] = align_intents(*intents), intent_report(*intents)
        write_atomic(Path(outdir, MEASURES), json.dumps({"macro_f1": macro_f1(*intents)}) + "\n")
    if sides["asr"][0]:
        alignments |= align_transcripts(sides["asr"], nlsyms)
    return write_scores(alignments, Path(outdir), reports)


def align_transcripts(sides: Sequence[Mapping[str, str]], nlsyms: Sequence[str]) -> dict[str, Mapping[str, Alignment]]:
    """Words and characters of references and hypotheses, by metric."""
    return {
        metric: align(*({key: tokenise(text, metric, nlsyms) for key, text in side.items()} for side in sides))
        for metric in ("wer", "cer")
    }


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Score one decoded dataset and print its metrics and measures."""
    parser = argparse.ArgumentParser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--ref", required=True, help="reference text: key, intent, transcript")
    parser.add_argument("--hyp", required=True, help="hypothesis text in the same form, in any order")
    parser.add_argument("--outdir", required=True)
    parser.add_argument("--nlsyms_txt", help="symbols that WER and CER leave out, one per line")
    args = parser.parse_args(argv)
    nlsyms = read_symbols(args.nlsyms_txt) if args.nlsyms_txt else ()
    for metric, total in score_understanding(args.ref, args.hyp, args.outdir, nlsyms=nlsyms).items():
        print(f"{metric.upper()} {shown_value(metric, total.rate):.2f} %, {total.sentences} utterances")
    for measure, value in json.loads(Path(args.outdir, MEASURES).read_text(encoding="utf-8")).items():
        print(f"{measure} {value:.2f} %")


if __name__ == "__main__":
    raise SystemExit(main())
