"""The same arithmetic in fewer copies: what makes small Qwen-VL models decode several times faster.

Nothing here changes a result beyond rounding. `speed_up` is called when a model is loaded.
"""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

GROUPED = "r1reward_grouped_sdpa"
# Tokens that a feed-forward layer takes at once without gradient: what it makes of them stays in the cache.
TOKENS_AT_ONCE = 2048


class RoomyLayer(DynamicLayer):
    """A cache layer with room for the tokens to come, so that a step writes one column and copies none."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, heads, tokens, width); returns all so far."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if start == 0:
            self.lazy_initialization(key_states, value_states)
            self._key_room = _with_room(key_states, self.room)
            self._value_room = _with_room(value_states, self.room)
        else:
            self._key_room[:, :, start:end] = key_states
            self._value_room[:, :, start:end] = value_states
        self.keys, self.values = self._key_room[:, :, :end], self._value_room[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows `indices` of the batch; a row may be repeated."""
        length = self.get_seq_length()
        self._key_room, self._value_room = self._key_room[indices], self._value_room[indices]
        self.keys, self.values = self._key_room[:, :, :length], self._value_room[:, :, :length]


def roomy_cache(model: Any, *, room: int) -> Cache:
    """An empty cache for `model` that will take `room` tokens after the prompt."""
    return Cache(layers=[RoomyLayer(room) for _ in range(model.config.get_text_config().num_hidden_layers)])


def speed_up(model: Any) -> Any:
    """Switch on grouped attention, a patch embedding by matrix product, and feed-forward layers by parts."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(GROUPED)
    embedding = model.model.visual.patch_embed
    embedding.forward = MethodType(_embed_patches, embedding)
    for block in model.model.visual.blocks:
        block.attn.forward = MethodType(_attend_together, block.attn)
    for layer in model.model.language_model.layers:
        layer.mlp.forward = MethodType(_feed_by_parts, layer.mlp)
    return model


@contextmanager
def last_token_only(model: Any) -> Iterator[None]:
    """Inside, only hidden states of last tokens count: the last feed-forward layer skips all others."""
    last = model.model.language_model.layers[-1].mlp
    last.last_token_only = True
    try:
        yield
    finally:
        last.last_token_only = False


def grouped_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention that does not repeat keys and values for each query head of a group while decoding.

    With one new token (B, H, 1, width), the H / G query heads that share a key head can stand where
    several tokens would: each attends to the same keys under the same mask.
    """
    groups = getattr(module, "num_key_value_groups", 1)
    if query.shape[2] != 1 or groups == 1 or attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    batch, heads, _, width = query.shape
    folded = query.reshape(batch, heads // groups, groups, width)
    output = scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=kwargs.get("scaling")
    )
    return output.reshape(batch, 1, heads, width), None


def _feed_by_parts(self: Any, hidden_states: Tensor) -> Tensor:
    """Qwen's feed-forward layer; without gradient a few thousand tokens at a time."""
    forward = type(self).forward
    if getattr(self, "last_token_only", False) and hidden_states.shape[1] > 1:
        fed = torch.zeros_like(hidden_states)
        fed[:, -1] = forward(self, hidden_states[:, -1])
        return fed
    if torch.is_grad_enabled() or hidden_states[..., 0].numel() <= TOKENS_AT_ONCE:
        return forward(self, hidden_states)
    parts = hidden_states.flatten(0, -2).split(TOKENS_AT_ONCE)
    return torch.cat([forward(self, part) for part in parts]).view_as(hidden_states)


def _attend_together(
    self: Any, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: Any = None, **kwargs: Any
) -> Tensor:
    """Qwen's vision attention; windows of one size (patches (N, H), as with pictures of one size) at once.

    transformers attends to one window after the other.
    """
    lengths = torch.unique(cu_seqlens.diff())
    if self.config._attn_implementation != GROUPED or len(lengths) != 1:
        return type(self).forward(
            self, hidden_states, cu_seqlens, position_embeddings=position_embeddings, **kwargs
        )
    query, key, value = self.qkv(hidden_states).view(len(hidden_states), 3, self.num_heads, -1).unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    query, key, value = (
        part.unflatten(0, (-1, int(lengths))).transpose(1, 2) for part in (query, key, value)
    )
    output = scaled_dot_product_attention(query, key, value, scale=self.scaling)
    return self.proj(output.transpose(1, 2).reshape(hidden_states.shape))


def _embed_patches(self: Any, hidden_states: Tensor) -> Tensor:
    """Qwen's patch embedding is a convolution whose stride is its kernel, which is a matrix product."""
    weight = self.proj.weight
    return linear(hidden_states.to(weight.dtype).view(-1, weight[0].numel()), weight.view(len(weight), -1))


def _with_room(states: Tensor, room: int) -> Tensor:
    batch, heads, length, width = states.shape
    larger = states.new_empty(batch, heads, length + room, width)
    larger[:, :, :length] = states
    return larger


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
