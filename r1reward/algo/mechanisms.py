"""What Pre-CLIP and the advantage filter do, each alone, on numbers chosen for it (paper §2.1, §3.1).

Nothing is trained here. The numbers come from the losses and advantages that training uses, so a figure
of them shows the code and not a formula beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from r1reward.algo.advantages import DEFAULT_LIMIT, filter_advantages, standardize_advantages
from r1reward.algo.losses import policy_loss
from r1reward.algo.ratio import PRE_CLIP

BATCH = 256
CLIP_EPS = 0.2
_LARGEST_LOG_RATIO = 10.0
_STEPS_A_NAT = 20


@dataclass(frozen=True, slots=True)
class TokenCurve:
    """Loss of one token and the derivative by its log-prob, at each log-ratio asked for."""

    losses: list[float]
    gradients: list[float]


@dataclass(frozen=True, slots=True)
class WrongAnswers:
    """For each number of wrong answers: their advantage, and their share of the squared gradient norm.

    The share is 0 where nothing is left to learn from.
    """

    advantages: list[float]
    shares: list[float]


def token_curve(
    log_ratios: Sequence[float], *, advantage: float, pre_clip: float | None, clip_eps: float = CLIP_EPS
) -> TokenCurve:
    """One sampled token's loss and gradient at N log-ratios in nats (paper Algorithm 1).

    With advantage A and ratio r the gradient is -A r, and 0 where PPO clips (r > 1 + ε for A > 0,
    r < 1 - ε for A < 0) or where r lies beyond `pre_clip` on either side. None switches Pre-CLIP off.
    """
    log_probs = torch.tensor([log_ratios], dtype=torch.float64, requires_grad=True)
    output = policy_loss(
        "stable_reinforce",
        log_probs,
        old_log_probs=torch.zeros_like(log_probs),
        advantages=torch.full_like(log_probs, advantage),
        mask=torch.ones_like(log_probs),
        clip_eps=clip_eps,
        pre_clip=pre_clip,
    )
    (gradients,) = torch.autograd.grad(output.per_token.sum(), log_probs)
    return TokenCurve(output.per_token[0].tolist(), gradients[0].tolist())


def wrong_answers(
    counts: Sequence[int], *, batch: int = BATCH, limit: float | None = DEFAULT_LIMIT
) -> WrongAnswers:
    """What k wrong answers (reward 0) weigh among `batch` with reward 1 otherwise, for each k (paper §3.1).

    With a share p = k / batch their advantage is -sqrt((1 - p) / p) and, on the first update, their share
    of the squared gradient norm is 1 - p if the gradients of the log-probs of all answers have one length
    and are orthogonal. `limit` is that of the filter, None leaves it out. Raises ValueError for a k
    outside 1 to `batch`.
    """
    advantages, shares = [], []
    for count in counts:
        if not 1 <= count <= batch:
            raise ValueError(f"wrong answers must number from 1 to {batch}, got {count}")
        rewards = (torch.arange(batch) >= count).double()
        z = standardize_advantages(rewards)
        kept = z if limit is None else filter_advantages(z, limit=limit)
        squares = kept.square()
        total = float(squares.sum())
        advantages.append(float(kept[0]))
        shares.append(float(squares[:count].sum()) / total if total else 0.0)
    return WrongAnswers(advantages, shares)


def mechanisms_record() -> dict[str, Any]:
    """Everything that `report.curves.figure_mechanisms` draws, ready for JSON."""
    steps = round(_LARGEST_LOG_RATIO * _STEPS_A_NAT)
    log_ratios = [step / _STEPS_A_NAT for step in range(-steps, steps + 1)]
    counts = list(range(1, BATCH // 2 + 1))
    signs = {"negative": -1.0, "positive": 1.0}
    pre_clips = {"with": PRE_CLIP, "without": None}
    limits = {"with": DEFAULT_LIMIT, "without": None}
    wrong = {name: wrong_answers(counts, limit=limit) for name, limit in limits.items()}
    return {
        "log_ratios": log_ratios,
        "gradients": {
            sign: {
                name: token_curve(log_ratios, advantage=advantage, pre_clip=bound).gradients
                for name, bound in pre_clips.items()
            }
            for sign, advantage in signs.items()
        },
        "wrong_counts": counts,
        "wrong_advantages": {name: found.advantages for name, found in wrong.items()},
        "wrong_shares": {name: found.shares for name, found in wrong.items()},
        "batch": BATCH,
        "clip_eps": CLIP_EPS,
        "pre_clip": PRE_CLIP,
        "limit": DEFAULT_LIMIT,
    }
