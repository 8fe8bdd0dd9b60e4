"""What the RL loop trains: the policy with its optimizer, schedule and prompts, and a batch's tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r1reward.algo.advantages import DEFAULT_LIMIT
from r1reward.algo.losses import default_pre_clip
from r1reward.engines import NonFiniteError
from r1reward.engines.inputs import Batch, encode
from r1reward.engines.loading import load_model
from r1reward.engines.log_probs import PolicyOutput, pad_responses, shares_prompts
from r1reward.engines.transformers import TransformersEngine
from r1reward.settings import EngineSettings, ModelSettings, RLSettings
from r1reward.train.checkpoint import checkpoint_state, load_optimizer, load_policy
from r1reward.train.monitor import UpdateMeter
from r1reward.train.sampler import Sampler
from r1reward.train.tasks import PAPER, Formulas, Task
from r1reward.types import Trajectory

BETAS = (0.9, 0.95)
LOWEST_RATE = 0.1  # of the peak, as in the authors' script
UNKNOWN = PolicyOutput(torch.empty(0), torch.empty(0))


@dataclass(slots=True)
class Chunk:
    """The responses of one forward pass (B, T) with their prompts and pictures, encoded once.

    `prompts` (B,) is the prompt in `batch` that each response answers; samples of one prompt share it.
    `old` is UNKNOWN until the first update where the policy of that update is the one that sampled.
    """

    rows: list[int]
    batch: Batch
    prompts: Tensor
    responses: Tensor
    mask: Tensor
    old: PolicyOutput = UNKNOWN
    reference: Tensor | None = None
    advantages: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(slots=True)
class Learner:
    """What is trained, and with what. `update_count` is the number of optimizer steps done.

    `engine` holds the model of `sampler`, which is `model` itself unless another one samples.
    """

    model: Any
    processor: Any
    optimizer: torch.optim.Optimizer
    engine: TransformersEngine
    task: Task
    settings: RLSettings
    max_new_tokens: int
    seed: int
    steps: int
    meter: UpdateMeter
    formulas: Formulas
    sampler: Sampler
    reference: Any = None
    update_count: int = 0


def pre_clip_bound(settings: RLSettings) -> float | None:
    """The bound of the ratio before the exponential; None where there is none."""
    if settings.pre_clip == "default":
        return default_pre_clip(settings.algorithm)
    return None if settings.pre_clip == "off" else settings.pre_clip


def advantage_limit(settings: RLSettings) -> float | None:
    """Standardised advantages beyond this are set to 0; None where nothing is filtered."""
    if settings.advantage_limit == "default":
        return DEFAULT_LIMIT if settings.algorithm == "stable_reinforce" else None
    return None if settings.advantage_limit == "off" else settings.advantage_limit


def learning_rate(learner: Learner) -> float:
    """Linear warm-up over a share of all updates, then constant, or falling along a cosine to a tenth."""
    settings = learner.settings
    samples = settings.rollout_batch_size * settings.samples_per_prompt
    updates = learner.steps * settings.inner_epochs * math.ceil(samples / settings.train_batch_size)
    warmup = math.ceil(settings.warmup_ratio * updates)
    if learner.update_count < warmup:
        return settings.learning_rate * (learner.update_count + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    fallen = (1 - math.cos(math.pi * (learner.update_count - warmup) / max(1, updates - warmup))) / 2
    return settings.learning_rate * (1 - (1 - LOWEST_RATE) * fallen)


def count_steps(settings: RLSettings, num_items: int) -> int:
    """Rollouts of a run: the passes over the data, at least one, at most `max_steps`."""
    steps = max(1, settings.epochs * num_items // settings.rollout_batch_size)
    return min(steps, settings.max_steps or steps)


def choose_prompts(items: Sequence[Any], learner: Learner, step: int) -> list[Any]:
    """The items of a step: every pass over all has its own order, and passes follow each other."""
    size = learner.settings.rollout_batch_size
    places = (divmod(place, len(items)) for place in range((step - 1) * size, step * size))
    return [items[order_of_pass(len(items), learner.seed, epoch, 2)[index]] for epoch, index in places]


@lru_cache(maxsize=4)
def order_of_pass(number: int, *seeds: int) -> list[int]:
    """The order in which so many items are passed over; it follows from the seeds alone."""
    return np.random.default_rng(seeds).permutation(number).tolist()


def make_learner(
    start: str | Path,
    *,
    settings: RLSettings,
    model_settings: ModelSettings,
    engine_settings: EngineSettings,
    task: Task,
    seed: int,
    steps: int,
    formulas: Formulas = PAPER,
    checkpoint: Path | None = None,
) -> Learner:
    """The policy with its optimizer as a checkpoint, or the start, has them.

    With a KL penalty the start is loaded as the reference, too.
    """
    model, processor = load_policy(start, checkpoint=checkpoint, settings=model_settings, seed=seed)
    reference = None
    if settings.kl_coef > 0:
        # In the arithmetic of the policy, or rounding would pass for a distance between them.
        whole = model_settings.lora.rank == 0
        reference = load_model(start, settings=model_settings, train=whole)[0].requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, betas=BETAS, weight_decay=0.0)
    sampler = Sampler(model, settings)
    learner = Learner(
        model=model,
        processor=processor,
        optimizer=optimizer,
        engine=TransformersEngine(
            sampler.model,
            processor,
            batch_size=engine_settings.batch_size,
            max_prompt_tokens=engine_settings.max_prompt_tokens,
        ),
        task=task,
        settings=settings,
        max_new_tokens=engine_settings.max_new_tokens,
        seed=seed,
        steps=steps,
        meter=UpdateMeter(optimizer),
        formulas=formulas,
        sampler=sampler,
        reference=reference,
    )
    if checkpoint is not None:
        learner.update_count = checkpoint_state(checkpoint)["update_count"]
        load_optimizer(learner.optimizer, checkpoint)
        sampler.load(checkpoint)
    return learner


def require_finite(what: str, value: Tensor, chunk: Chunk, **tensors: Tensor) -> None:
    if not bool(torch.isfinite(value).all()):
        seen = {
            "responses": chunk.responses,
            "mask": chunk.mask,
            "old_log_probs": chunk.old.log_probs,
            "advantages": chunk.advantages,
            **tensors,
        }
        raise NonFiniteError(f"the {what} is not finite", seen)


def split_rollout(learner: Learner, trajectories: Sequence[Trajectory], step: int) -> list[list[list[int]]]:
    """Rows of the trajectories: mini-batches, in random order, of micro-batches of like length.

    Samples of a prompt stay together, and so do texts of like length: less is computed twice or for padding.
    """
    settings, group = learner.settings, learner.settings.samples_per_prompt
    rng = np.random.default_rng([learner.seed, step, 1])
    order = rng.permutation(len(trajectories) // group)[:, None] * group + np.arange(group)
    lengths = [len(learner.task.request(one.item).text) for one in trajectories[::group]]
    for row, trajectory in enumerate(trajectories):
        lengths[row // group] += len(trajectory.completion.text)
    return [
        _split(sorted(rows, key=lambda row: (lengths[row // group], row)), settings.micro_batch_size)
        for rows in _split(order.ravel().tolist(), settings.train_batch_size)
    ]


def make_chunk(learner: Learner, trajectories: Sequence[Trajectory], rows: list[int]) -> Chunk:
    """The trajectories `rows` as tensors; samples of one prompt share it where attention allows."""
    device, group = learner.model.device, learner.settings.samples_per_prompt
    own = rows if not shares_prompts(learner.model) else [row - row % group for row in rows]
    asked = list(dict.fromkeys(own))
    requests = [learner.task.request(trajectories[row].item) for row in asked]
    batch = {name: value.to(device) for name, value in encode(learner.processor, requests).items()}
    ids, mask = pad_responses([trajectories[row].completion.token_ids for row in rows])
    prompts = torch.tensor([asked.index(row) for row in own], device=device)
    return Chunk(rows, batch, prompts, ids.to(device), mask.to(device))


def _split(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
