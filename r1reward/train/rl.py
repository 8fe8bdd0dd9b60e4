"""Reinforcement learning of the reward model (paper §3): rollout -> score -> advantage -> update.

One process, any of the algorithms in `algo.losses`; StableReinforce is the default. Every forward, of
old, new and reference policy, sees the pictures. Old log-probs come from forwards of the policy that sampled
(`sampler`): if it is the one being trained, the ratio is 1 on the first mini-batch. All randomness of a step
follows from seed and step, so a killed run goes on from its last checkpoint to the same weights and metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from r1reward.algo.advantages import filter_advantages, group_advantages, standardize_advantages
from r1reward.algo.losses import policy_loss, reduce_loss
from r1reward.data.storage import usable_pairs
from r1reward.engines import NonFiniteError, Sampling
from r1reward.engines.loading import files_hash, weights_hash
from r1reward.engines.log_probs import PolicyOutput, policy_forward
from r1reward.files import append_jsonl, read_jsonl, sha256_file
from r1reward.judge.consistency_judges import ConsistencyJudge, ScriptedConsistencyJudge
from r1reward.locks import exclusive
from r1reward.pictures import Budget
from r1reward.settings import EngineSettings, ModelSettings, RLSettings
from r1reward.train import checkpoint
from r1reward.train.learner import (
    UNKNOWN,
    Chunk,
    Learner,
    advantage_limit,
    choose_prompts,
    count_steps,
    learning_rate,
    make_chunk,
    make_learner,
    pre_clip_bound,
    require_finite,
    split_rollout,
)
from r1reward.train.monitor import (
    Show,
    advantage_metrics,
    collapse_reason,
    monitor,
    rollout_metrics,
    save_evidence,
    weighted_means,
)
from r1reward.train.tasks import OWN, PAPER, Formulas, JudgeTask, Task, checked
from r1reward.types import Completion, Trajectory


def take_step(learner: Learner, items: Sequence[Any], step: int) -> dict[str, float]:
    """One rollout and the updates on it; returns the row of metrics."""
    started, cpu_started = time.perf_counter(), time.process_time()
    completions = rollout(learner, items, step)
    rolled_out = time.perf_counter()
    trajectories = learner.task.score(items, completions)
    scored = time.perf_counter()
    minibatches = prepare(learner, trajectories, step)
    chunks = [chunk for minibatch in minibatches for chunk in minibatch]
    z = advantages(chunks, trajectories, settings=learner.settings, own=learner.formulas.advantages)
    prepared = time.perf_counter()
    updates = [
        update(learner, minibatch) for _ in range(learner.settings.inner_epochs) for minibatch in minibatches
    ]
    losses = weighted_means(updates)
    del losses["num_tokens"]
    finished = time.perf_counter()
    tokens = sum(len(trajectory.completion.token_ids) for trajectory in trajectories)
    counted = sum(int(chunk.mask.sum()) for chunk in chunks)
    return {
        "step": step,
        **rollout_metrics(trajectories),
        **learner.task.metrics(trajectories),
        **losses,
        **advantage_metrics(z, kept=torch.cat([chunk.advantages[chunk.mask] for chunk in chunks])),
        "entropy": sum(float(chunk.old.entropy.sum()) for chunk in chunks) / counted,
        "tokens_per_second": tokens / (rolled_out - started),
        "rollout_seconds": rolled_out - started,
        "score_seconds": scored - rolled_out,
        "old_log_prob_seconds": prepared - scored,
        "update_seconds": finished - prepared,
        "seconds": finished - started,
        "cpu_seconds": time.process_time() - cpu_started,
    }


def rollout(learner: Learner, items: Sequence[Any], step: int) -> list[tuple[Completion, ...]]:
    """`samples_per_prompt` sampled answers to every item, by the policy of `rollout_lag` rollouts ago."""
    settings = learner.settings
    learner.sampler.follow()
    seed = int(np.random.SeedSequence([learner.seed, step]).generate_state(1)[0])
    sampling = Sampling(learner.max_new_tokens, settings.temperature, settings.samples_per_prompt, seed)
    return learner.engine.generate([learner.task.request(item) for item in items], sampling)


def prepare(learner: Learner, trajectories: Sequence[Trajectory], step: int) -> list[list[Chunk]]:
    """Mini-batches of micro-batches in random order, with old (and reference) log-probs."""
    minibatches: list[list[Chunk]] = []
    for micro in split_rollout(learner, trajectories, step):
        # Where the policy itself sampled, the first update's forward gives the old log-probs too.
        known = bool(minibatches) or learner.reference is not None or learner.sampler.apart
        chunks = [make_chunk(learner, trajectories, rows) for rows in micro]
        minibatches.append(chunks)
        for chunk in chunks:
            with torch.no_grad():
                if known:
                    chunk.old = _forward(learner.engine.model, chunk, learner.settings)
                if learner.reference:
                    chunk.reference = _forward(learner.reference, chunk, learner.settings).log_probs
            require_finite("old log-probs", chunk.old.log_probs, chunk)
    return minibatches


def _forward(model: Any, chunk: Chunk, settings: RLSettings) -> PolicyOutput:
    shown = {"responses": chunk.responses, "mask": chunk.mask, "prompts": chunk.prompts}
    return policy_forward(model, chunk.batch, **shown, temperature=settings.temperature)


def advantages(
    chunks: Sequence[Chunk],
    trajectories: Sequence[Trajectory],
    *,
    settings: RLSettings,
    own: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Set the advantages (B, T) of all chunks; returns those of all counted tokens (N,) before the filter.

    GRPO measures rewards within the samples of a prompt; the others standardise over all tokens of the
    rollout, with any KL penalty (k1) in the token's reward-to-go. `own` takes the place of standardising and
    of the filter.
    """
    rewards = torch.tensor([trajectory.reward for trajectory in trajectories])
    if settings.algorithm == "grpo":
        groups = torch.arange(len(rewards)) // settings.samples_per_prompt
        rewards = group_advantages(rewards, groups, normalize_std=settings.normalize_groups)
    masks = [chunk.mask for chunk in chunks]
    values = [
        rewards.to(c.mask.device)[c.rows][:, None].expand(c.mask.shape) - _penalty(c, settings)
        for c in chunks
    ]
    counted = torch.cat([value[mask] for value, mask in zip(values, masks, strict=True)])
    z = counted if settings.algorithm == "grpo" else standardize_advantages(counted)
    limit = advantage_limit(settings)
    kept = z if limit is None else filter_advantages(z, limit=limit)
    if own is not None:
        kept = checked("advantages", own(counted), like=counted)
    parts = kept.split([int(mask.sum()) for mask in masks])
    for chunk, part in zip(chunks, parts, strict=True):
        chunk.advantages = torch.zeros(chunk.mask.shape, device=z.device).masked_scatter(chunk.mask, part)
    return z


def _penalty(chunk: Chunk, settings: RLSettings) -> Tensor:
    """KL (k1) from each token to the end, (B, T); 0 for GRPO, whose KL stands in its loss."""
    if chunk.reference is None or settings.algorithm == "grpo":
        return torch.zeros(chunk.mask.shape, device=chunk.mask.device)
    kl = settings.kl_coef * (chunk.old.log_probs - chunk.reference)
    return kl.flip(1).cumsum(1).flip(1)


def update(learner: Learner, minibatch: Sequence[Chunk]) -> dict[str, float]:
    """One optimizer step on one mini-batch, accumulated over its micro-batches; returns its metrics."""
    settings = learner.settings
    number = _denominator(minibatch, settings)
    learner.optimizer.zero_grad(set_to_none=True)
    parts = []
    for chunk in minibatch:
        output = _forward(learner.model, chunk, settings)
        if chunk.old is UNKNOWN:
            chunk.old = PolicyOutput(output.log_probs.detach().clone(), output.entropy)
        loss = policy_loss(
            settings.algorithm,
            output.log_probs,
            old_log_probs=chunk.old.log_probs,
            advantages=chunk.advantages,
            mask=chunk.mask,
            clip_eps=settings.clip_eps,
            pre_clip=pre_clip_bound(settings),
            ref_log_probs=chunk.reference,
            kl_coef=settings.kl_coef,
            ratio=learner.formulas.ratio,
        )
        require_finite("loss", loss.loss, chunk, log_probs=output.log_probs)
        reduction = settings.loss_reduction
        reduce_loss(loss.per_token, chunk.mask, how=reduction, denominator=number).backward()
        parts.append(loss.metrics)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), settings.max_grad_norm)
    require_finite("gradient norm", norm, minibatch[-1])
    rate = learning_rate(learner)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    learner.optimizer.step()
    learner.update_count += 1
    return {
        **weighted_means(parts),
        "grad_norm": float(norm),
        "update_to_weight": learner.meter.ratio,
        "learning_rate": rate,
    }


def _denominator(minibatch: Sequence[Chunk], settings: RLSettings) -> int:
    """What the loss of a mini-batch is a mean over: its tokens, or its responses that have any."""
    lengths = [chunk.mask.sum(dim=-1) for chunk in minibatch]
    by_token = settings.loss_reduction == "token"
    return sum(int(one.sum() if by_token else (one > 0).sum()) for one in lengths)


@dataclass(frozen=True, slots=True)
class RLResult:
    """How a run ended, with the reason of a collapse. `model` is the folder of the last finite weights."""

    status: Literal["finished", "collapsed"]
    steps: int
    model: Path
    reason: str = ""


def train_rl(
    model_path: str | Path,
    pairs_path: str | Path,
    *,
    out: str | Path,
    settings: RLSettings,
    model_settings: ModelSettings,
    engine_settings: EngineSettings,
    seed: int,
    judge: ConsistencyJudge | None = None,
    formulas: Formulas = PAPER,
    record: str | Path | None = None,
) -> RLResult:
    """Train a judge on preference pairs and save it as `out/model`.

    Args:
        model_path: the cold-started checkpoint.
        pairs_path: JSON lines written by `data.storage.write_pairs`; faulty rows are left out with a warning.
        out: checkpoints, TensorBoard events and the final model go here.
        judge: gives the consistency reward; the scripted one unless given.
        formulas: own ones of the reward, the advantages or the ratio.
        record: folder of `metrics.jsonl` and `status.json`; `out` unless given.

    The same call goes on from the last checkpoint in `out`. A run that collapses (`collapse_reason`) stops
    there; a loss or gradient that is not finite leaves its evidence in `out/collapse`, and the weights before
    that update are saved. What the judge does not know pays nothing and is counted. Raises DiskFullError.
    """
    pairs = usable_pairs(pairs_path, Budget(model_settings.min_pixels, model_settings.max_pixels))
    if not pairs.kept:
        raise ValueError(f"{pairs_path} holds no pairs to learn from")
    judge, prompt = judge or ScriptedConsistencyJudge(), model_settings.prompt
    task = JudgeTask(judge, settings=settings, prompt=prompt, reward=formulas.reward)
    return train_policy(
        task,
        model_path,
        pairs.kept,
        items_hash=sha256_file(pairs_path),
        left_out=pairs.left_out,
        out=out,
        settings=settings,
        model_settings=model_settings,
        engine_settings=engine_settings,
        seed=seed,
        formulas=formulas,
        record=record,
    )


def train_policy(
    task: Task,
    model_path: str | Path,
    items: Sequence[Any],
    *,
    items_hash: str,
    left_out: Mapping[str, int] | None = None,
    out: str | Path,
    settings: RLSettings,
    model_settings: ModelSettings,
    engine_settings: EngineSettings,
    seed: int,
    formulas: Formulas = PAPER,
    record: str | Path | None = None,
) -> RLResult:
    """`train_rl` for any task, whose rewards are its own; `items_hash` changes with the items.

    `left_out` counts faulty rows by their reasons. Raises BusyError while another process trains in `out`.
    """
    out, record = Path(out), Path(record or out)
    key = {
        "rl": settings.model_dump(mode="json"),
        "model": model_settings.model_dump(mode="json"),
        "engine": engine_settings.model_dump(mode="json"),
        "seed": seed,
        "start": weights_hash(model_path),
        "start_files": files_hash(model_path),
        "pairs": items_hash,
        "judge": task.fingerprint,
    }
    if formulas.described:
        key["formulas"] = formulas.described
    with exclusive(out):
        last = checkpoint.open_run(out, key, record=record)
        if ended := checkpoint.final_status(out, record):
            return RLResult(ended["status"], ended["step"], out / "model", ended.get("reason", ""))
        learner = make_learner(
            model_path,
            settings=settings,
            model_settings=model_settings,
            engine_settings=engine_settings,
            task=task,
            seed=seed,
            steps=count_steps(settings, len(items)),
            formulas=formulas,
            checkpoint=last,
        )
        board, start = out / "tensorboard", checkpoint.step_of(last)
        with (
            checkpoint.explain_full_disk(out),
            monitor(settings.algorithm, total=learner.steps, step=start, folder=board) as show,
        ):
            step, reason = _run(learner, items, out=out, record=record, show=show, start=start)
            write = partial(checkpoint.save_trained, learner.model, learner.processor)
            model = checkpoint.write_folder(out / "model", write)
            status: Literal["finished", "collapsed"] = "collapsed" if reason else "finished"
            used = _used(learner, len(items), left_out or {})
            checkpoint.write_status(out, record, status=status, step=step, reason=reason, used=used)
            return RLResult(status, step, model, reason)


def _run(
    learner: Learner, items: Sequence[Any], *, out: Path, record: Path, show: Show, start: int
) -> tuple[int, str]:
    """The steps after `start`; returns the last one, and the reason where the run has collapsed."""
    rows, settings = record / "metrics.jsonl", learner.settings
    unknown_reward = settings.consistency_weight / (settings.rollout_batch_size * settings.samples_per_prompt)
    seen, patience = read_jsonl(rows) if rows.is_file() else [], settings.collapse_patience
    for step in range(start + 1, learner.steps + 1):
        try:
            row = take_step(learner, choose_prompts(items, learner, step), step)
        except NonFiniteError as error:
            save_evidence(out / "collapse", step, error)
            return step, str(error)
        seen.append(row)
        append_jsonl(rows, row)
        show(row)
        if reason := collapse_reason(seen, patience=patience, unknown_reward=unknown_reward):
            return step, reason
        if step % settings.save_steps == 0 or step == learner.steps:
            checkpoint.save_checkpoint(
                out / "checkpoints",
                step,
                model=learner.model,
                processor=learner.processor,
                optimizer=learner.optimizer,
                state={"update_count": learner.update_count, "seed": learner.seed},
                also=learner.sampler.save,
            )
    return learner.steps, ""


def _used(learner: Learner, num_items: int, left_out: Mapping[str, int]) -> dict[str, Any]:
    """What a run was made with, for its record: defaults as values, "off" where a part is off.

    `left_out` are the faulty rows of its file by their reasons; the record has them if there are any.
    """
    settings, own = learner.settings, learner.formulas.described
    return {
        "algorithm": settings.algorithm,
        "pre_clip": OWN if "ratio" in own else pre_clip_bound(settings) or "off",
        "advantage_limit": OWN if "advantages" in own else advantage_limit(settings) or "off",
        **learner.task.used(),
        "items": num_items,
        "seed": learner.seed,
        **({"left_out": dict(left_out)} if left_out else {}),
        **({"formulas": own} if own else {}),
    }
