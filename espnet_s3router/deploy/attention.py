"""Attention blocks with fewer heads than the width of the Transformer needs, or with none."""

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from espnet_s3router.upstreams import Family


def set_heads(block: nn.Module, family: Family, heads: int) -> None:
    """Let an attention block compute with so many heads, in place; its matrices have that size already.

    fairseq-style blocks demand that heads fill the width, or take a slow path that rounds to float32: they get a forward of
    their own. So do blocks without heads, of which the bias of the output matrix stays.
    """
    setattr(block, family.heads, heads)
    if heads == 0:
        block.tuple_output = family.attention_output == "tuple"  # type: ignore[assignment]
        block.forward = MethodType(_no_heads, block)
    elif hasattr(block, "skip_embed_dim_check"):  # fairseq's
        block.forward = MethodType(_fairseq_heads, block)


def _no_heads(block: Any, *args: Any, **kwargs: Any) -> Any:
    """The output of a block without heads, in the shape of the input: the bias of its last matrix, or zeros."""
    x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    out = block.out_proj(x.new_zeros(*x.shape[:-1], 0))
    return (out, None) if block.tuple_output else out


def _fairseq_heads(
    block: Any, query: Tensor, key: Any = None, value: Any = None, key_padding_mask: Tensor | None = None, **options: Any
) -> tuple[Tensor, None]:
    """Self-attention (frames, batch, dim) -> (frames, batch, dim); ``key_padding_mask`` (batch, frames): True on padding."""
    assert options.get("attn_mask") is None and not options.get("need_weights"), options
    q, k, v = (
        projection(query).unflatten(2, (block.num_heads, -1)).permute(1, 2, 0, 3)  # (batch, heads, frames, head width)
        for projection in (block.q_proj, block.k_proj, block.v_proj)
    )
    mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None].bool()
    dropout = block.dropout_module.p if block.training or block.dropout_module.apply_during_inference else 0.0
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return block.out_proj(mixed.permute(2, 0, 1, 3).flatten(2)), None
