"""Log-probabilities of sampled tokens under a policy that sees the pictures (paper §2, §3.1).

Shapes: B responses, P prompt tokens (left-padded), T response tokens (right-padded), V vocabulary.
Vision tokens cannot be answers: they are taken out before the log-softmax, here as in sampling, so the
probabilities are those of the distribution that was sampled from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r1reward.engines.inputs import Batch
from r1reward.engines.loading import computing
from r1reward.engines.speed import GROUPED

_VISION_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """log_probs (B, T) in nats with gradient, entropy (B, T) in nats without; both 0 where masked."""

    log_probs: Tensor
    entropy: Tensor


def vision_token_ids(config: Any) -> list[int]:
    """Tokens that stand for pictures or frame them; no answer may contain them."""
    return [identifier for name in _VISION_IDS if (identifier := getattr(config, name, None)) is not None]


def answer_log_probs(logits: Tensor, *, vision_ids: Sequence[int], temperature: float = 1.0) -> Tensor:
    """Log-probabilities (..., V) of the next answer token at `temperature`; vision tokens have -inf."""
    scaled = logits.float() if temperature == 1.0 else logits.float() / temperature
    banned = torch.zeros(scaled.shape[-1], dtype=torch.bool, device=scaled.device)
    banned[list(vision_ids)] = True
    return torch.log_softmax(scaled.masked_fill(banned, -torch.inf), dim=-1)


def pad_responses(token_ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) with zeros on the right, and their mask (B, T), true at response tokens."""
    length = max((len(row) for row in token_ids), default=0)
    ids = torch.zeros((len(token_ids), length), dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        mask[row, : len(tokens)] = True
    return ids, mask


def position_ids(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """M-RoPE positions (3, B, P) of a left-padded batch, and what to add to a text position after it (B, 1).

    Padding does not count, so positions are those of the unpadded prompt.
    """
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    known = {name: batch[name] for name in names if name in batch}
    return model.model.get_rope_index(**known, attention_mask=batch["attention_mask"])


def shares_prompts(model: Any) -> bool:
    """Whether several responses may share a prompt: attention has to take a mask that is not causal alone."""
    return model.config._attn_implementation in ("sdpa", GROUPED)


def response_states(
    model: Any, batch: Batch, *, responses: Tensor, mask: Tensor, prompts: Tensor | None = None
) -> Tensor:
    """Last hidden states (B, T + 1, H): of the prompt's last token, then of the response tokens (B, T).

    `prompts` (B,) says which of the G prompts of `batch` each response answers; each its own unless given. A
    prompt stands once before all its responses, each of which sees the prompt and itself. T may be 0. States
    of masked tokens mean nothing. The gradient flows through the vision tower too.
    """
    device, prompt_mask = responses.device, batch["attention_mask"].bool()
    prompts = torch.arange(len(responses), device=device) if prompts is None else prompts
    positions, deltas = position_ids(model, batch)
    lengths, sizes, steps = prompt_mask.sum(1), mask.sum(1), torch.arange(responses.shape[1], device=device)
    same_prompt = (prompts[:, None] == prompts).tril(-1)
    # Without gaps there is less to compute, and all padding stands where causal attention does not look.
    columns = (lengths[prompts] + same_prompt.long() @ sizes)[:, None] + steps
    width = max(int(lengths.max()), int((columns[:, :1] + sizes[:, None]).max()) if len(steps) else 0)
    front, at = torch.arange(width, device=device) < lengths[:, None], (prompts[:, None], columns)
    at = tuple(part.expand(mask.shape)[mask] for part in at)
    ids = batch["input_ids"].new_zeros(front.shape)
    places = positions.new_zeros((3, *front.shape))
    ids[front], places[:, front] = batch["input_ids"][prompt_mask], positions[:, prompt_mask]
    ids[at] = responses[mask]
    places[:, *at] = ((lengths[:, None] + deltas)[prompts] + steps)[mask]
    pixels = {name: value for name, value in batch.items() if name.startswith(("pixel_", "image_", "video_"))}
    if bool(same_prompt.any()):
        pixels["attention_mask"] = _sees(front, at, mask)
    with computing(model):
        hidden = model.model(input_ids=ids, position_ids=places, use_cache=False, **pixels)[0]
    wanted = torch.cat([lengths[prompts][:, None] - 1, columns.clamp(max=width - 1)], dim=1)
    return hidden[prompts[:, None], wanted]


def _sees(front: Tensor, at: tuple[Tensor, ...], mask: Tensor) -> Tensor:
    """Which tokens (G, 1, L, L) see which: those of a response the prompt (`front`) and what they follow."""
    owner = front.long() - 1  # 0 the prompt, -1 nothing
    owner[at] = 1 + torch.arange(len(mask), device=mask.device)[:, None].expand(mask.shape)[mask]
    return ((owner[:, :, None] == owner[:, None]) | (owner[:, None] == 0)).tril()[:, None]


def read_policy(
    model: Any, states: Tensor, *, responses: Tensor, mask: Tensor, temperature: float = 1.0
) -> PolicyOutput:
    """Log-probabilities and entropy of response tokens from the states (B, T + 1, H) of `response_states`.

    Logits are computed only where the mask is true.
    """
    with computing(model):
        logits = model.lm_head(states[:, :-1][mask])
    everything = answer_log_probs(logits, vision_ids=vision_token_ids(model.config), temperature=temperature)
    chosen = everything.gather(1, responses[mask][:, None])[:, 0]
    with torch.no_grad():
        entropy = torch.special.entr(everything.detach().exp()).sum(dim=-1)
    empty = torch.zeros(mask.shape, dtype=torch.float32, device=chosen.device)
    return PolicyOutput(
        empty.masked_scatter(mask, chosen), torch.zeros_like(empty).masked_scatter(mask, entropy)
    )


def policy_forward(
    model: Any,
    batch: Batch,
    *,
    responses: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
    prompts: Tensor | None = None,
) -> PolicyOutput:
    """Log-probabilities and entropy of response tokens, given prompts and pictures.

    `batch` comes from `encode`; `responses` (B, T) are token ids, right-padded, and `mask` is true at
    response tokens. `prompts` (B,) names the row of `batch` that each answers, see `response_states`.
    """
    states = response_states(model, batch, responses=responses, mask=mask, prompts=prompts)
    return read_policy(model, states, responses=responses, mask=mask, temperature=temperature)
