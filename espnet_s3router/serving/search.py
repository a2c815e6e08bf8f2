"""From the outputs of a model to tokens: CTC by best path with times, or ESPnet's beam search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BEAM_OPTIONS = ("beam_size", "ctc_weight", "penalty", "maxlenratio", "minlenratio")
SPACES = {"char": "<space>", "bpe": "\u2581"}


@dataclass(frozen=True)
class Token:
    """A recognised token. Times are frames; those of beam search are unknown."""

    text: str
    first: int | None = None
    last: int | None = None
    probability: float | None = None
    """Mean probability of the token in its frames."""


def best_path_tokens(log_probs: Tensor, tokens: Sequence[str], blank: int = 0) -> list[Token]:
    """Tokens of the most probable path; ``log_probs`` (frames, tokens)."""
    values, ids = log_probs.max(dim=-1)  # (frames,)
    runs, lengths = torch.unique_consecutive(ids, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    found = []
    for token, length, end in zip(runs.tolist(), lengths.tolist(), ends):
        if token != blank:
            probability = float(values[end - length : end].exp().mean())
            found.append(Token(tokens[token], end - length, end - 1, probability))
    return found


def beam_tokens(model: Any, hidden: Tensor, decoding: Mapping[str, Any]) -> list[Token]:
    """Tokens of ESPnet's beam search over ``hidden`` (frames, dim), with the decoding options of a route."""
    from espnet.nets.beam_search import BeamSearch
    from espnet.nets.scorers.ctc import CTCPrefixScorer
    from espnet.nets.scorers.length_bonus import LengthBonus

    options = {"beam_size": 20, "ctc_weight": 0.5, "penalty": 0.0, "maxlenratio": 0.0, "minlenratio": 0.0}
    options |= {name: decoding[name] for name in BEAM_OPTIONS if name in decoding}
    ctc_weight = options["ctc_weight"] if getattr(model, "decoder", None) is not None else 1.0
    scorers = {
        "decoder": model.decoder,
        "ctc": None if getattr(model, "ctc", None) is None else CTCPrefixScorer(ctc=model.ctc, eos=model.eos),
        "length_bonus": LengthBonus(len(model.token_list)),
    }
    search = BeamSearch(
        beam_size=int(options["beam_size"]),
        weights={"decoder": 1.0 - ctc_weight, "ctc": ctc_weight, "length_bonus": options["penalty"]},
        scorers=scorers,
        sos=model.sos,
        eos=model.eos,
        vocab_size=len(model.token_list),
        token_list=model.token_list,
        pre_beam_score_key=None if ctc_weight == 1.0 else "full",
    ).eval()
    best = search(x=hidden, maxlenratio=options["maxlenratio"], minlenratio=options["minlenratio"])[0]
    ids = [int(token) for token in best.yseq[1:-1] if int(token) != 0]  # without sos, eos and blanks
    return [Token(model.token_list[token]) for token in ids]


def words_of(tokens: Sequence[Token], token_type: str) -> list[list[Token]]:
    """The tokens of each word. Tokens of type word and phn are words themselves."""
    space = SPACES.get(token_type)
    if space is None:
        return [[token] for token in tokens]
    words: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == space:
            words.append([])
            continue
        if token.text.startswith(space) and token_type == "bpe":
            words.append([])
        words[-1].append(token)
    return [word for word in words if word]


def spelling(word: Sequence[Token]) -> str:
    """The text of one word."""
    return "".join(token.text for token in word).replace(SPACES["bpe"], "")
