"""Tiny random text models, in folders as users of Transformers have them."""

from pathlib import Path

BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 20}
XLNET = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "vocab_size": 20}
MODELS = {"Bert": BERT, "Roberta": BERT, "XLNet": XLNET}


def write_text_model(folder: Path, name: str, **changes: int) -> Path:
    """A random model of the class ``<name>Model``; always the same one."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**MODELS[name] | changes)
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    return folder


def write_tokeniser(folder: Path, texts: list[str]) -> int:
    """A tokeniser of words beside a model. Returns the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[UNK]", *words])}
    tokeniser = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokeniser.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokeniser, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return len(vocabulary)
