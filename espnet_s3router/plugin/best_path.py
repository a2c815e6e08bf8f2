"""Best-path CTC decoding inside ESPnet's inference, the decoder behind the papers' results without a language model.

It takes the most probable token of each frame, merges repeats and removes blanks (Graves et al. 2006, sec. 3.2). ESPnet's
prefix beam search finds the same text or a slightly more probable one, and is hundreds of times slower on long utterances.
"""

import importlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.patching import replaced


def best_path(log_probs: Tensor, blank: int = 0) -> tuple[list[int], float]:
    """(token ids, log probability of the path) of one utterance; ``log_probs`` (frames, tokens)."""
    values, tokens = log_probs.max(dim=-1)
    merged = torch.unique_consecutive(tokens).tolist()
    return [token for token in merged if token != blank], float(values.sum())


DECODERS = {"asr": "Speech2Text", "slu": "Speech2Understand"}
"""The class of ``espnet2.bin.TASK_inference`` that decodes."""


def best_path_decoding(task: str = "asr") -> AbstractContextManager[None]:
    """Within the block, every decoder of a task that ESPnet builds decodes by best path."""
    inference: Any = importlib.import_module(f"espnet2.bin.{task}_inference")
    decoder: Any = getattr(inference, DECODERS[task])

    class BestPathDecoder(decoder):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            model = self.asr_model
            if getattr(model, "ctc", None) is None:
                raise InputError("--ctc_best_path: the model has no CTC head; decode it with ESPnet's beam search")

            def search(x: Tensor, **unused: Any) -> list[Any]:
                tokens, score = best_path(model.ctc.log_softmax(x[None])[0], model.blank_id)
                sequence = torch.tensor([model.sos, *tokens, model.eos])
                return [inference.Hypothesis(yseq=sequence, score=score, scores={"ctc": score}, states={})]

            self.beam_search.forward = search

    return replaced(inference, DECODERS[task], BestPathDecoder)
