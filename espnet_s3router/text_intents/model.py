"""A text model with a method, and a linear layer that gives the intent of a transcript."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError, summary
from espnet_s3router.methods import Attached, attach
from espnet_s3router.upstreams.text import known_text_family

Batch = dict[str, Tensor]


class IntentModel(nn.Module):
    """Tokens (batch, length) -> scores of the intents (batch, intents): the mean of the last states, and a linear layer.

    Raises InputError for a model that cannot be loaded or is of no known family.
    """

    def __init__(self, model: str, intents: int, mask_conf: Mapping[str, Any]) -> None:
        super().__init__()
        from transformers import AutoModel

        try:
            self.body = AutoModel.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise InputError(f"--model {model} cannot be loaded: {summary(error)}") from error
        self.body.requires_grad_(False)
        known_text_family(self.layers, model)
        self.attached: Attached = attach(self.layers, mask_conf)
        self.head = nn.Linear(self.body.config.hidden_size, intents)

    @property
    def layers(self) -> nn.Module:
        """The part that holds the Transformer layers; paths of methods are relative to it."""
        return getattr(self.body, "encoder", self.body)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """See the class. The text model computes without dropout, as upstreams do."""
        self.body.eval()
        states = self.body(**batch).last_hidden_state  # (batch, length, dim)
        inside = batch["attention_mask"].unsqueeze(-1)  # (batch, length, 1)
        return self.head((states * inside).sum(dim=1) / inside.sum(dim=1))


def read_tokeniser(model: str) -> Any:
    """The tokeniser of a text model. Raises InputError if it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise InputError(f"--model {model}: its tokeniser cannot be loaded: {summary(error)}") from error


def batches(tokeniser: Any, texts: Sequence[str], size: int) -> Iterator[Batch]:
    """Token ids and attention masks (batch, length) of ``size`` texts at a time, in order."""
    for start in range(0, len(texts), size):
        made = tokeniser(list(texts[start : start + size]), return_tensors="pt", padding=True, truncation=True)
        yield {name: made[name] for name in ("input_ids", "attention_mask")}


@torch.no_grad()
def predict(model: IntentModel, tokeniser: Any, texts: Sequence[str], size: int, device: str) -> list[int]:
    """The number of the most probable intent of each text."""
    found: list[int] = []
    for batch in batches(tokeniser, texts, size):
        found += model({name: tensor.to(device) for name, tensor in batch.items()}).argmax(dim=-1).tolist()
    return found
