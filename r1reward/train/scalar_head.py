"""Training of the reward models with a head that Table 5 compares with (paper §2, §4.1).

Both kinds learn preferences by the Bradley-Terry loss -log sigmoid(r(chosen) - r(rejected)). `critique`
adds the mean negative log-probability of the annotator's critiques, on which the head is conditioned.
The backbone, the pictures and the data are those of the cold start.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import logsigmoid

from r1reward.data.cold_start import split_critiques
from r1reward.data.rows import Sifted
from r1reward.data.storage import SFTExample, usable_pairs, usable_targets
from r1reward.engines.inputs import encode
from r1reward.engines.log_probs import pad_responses
from r1reward.judge.scalar import (
    Kind,
    RewardModel,
    load_reward_model,
    new_reward_model,
    score_request,
)
from r1reward.pictures import Budget
from r1reward.prompts import PromptName
from r1reward.settings import ModelSettings, RewardModelSettings
from r1reward.train.checkpoint import add_adapters, load_adapters
from r1reward.train.trainer import CheckpointedTrainer, answer_ids, run_trainer

_LOG = logging.getLogger(__name__)


def train_reward_model(
    model_path: str | Path,
    examples_path: str | Path,
    *,
    kind: Kind,
    out: str | Path,
    settings: RewardModelSettings,
    model_settings: ModelSettings,
    seed: int,
    record: str | Path | None = None,
) -> Path:
    """Train a reward model from a backbone; returns the folder of the result, `out/model`.

    Args:
        model_path: the backbone, as for `train_sft`.
        examples_path: cold-start examples; for `scalar`, which reads no reasoning, pairs will do.
        kind: "scalar", or "critique" as MM-RLHF-Reward.
        out, record: as for `train_sft`.
    """
    budget = Budget(model_settings.min_pixels, model_settings.max_pixels)

    def load(last: Path | None) -> tuple[Any, Any]:
        if last is not None and model_settings.lora.rank == 0:
            return load_reward_model(last, settings=model_settings, train=True)
        return _new_model(model_path, last, kind=kind, seed=seed, settings=model_settings)

    return run_trainer(
        PreferenceTrainer,
        _read_examples(Path(examples_path), kind, budget),
        name=f"{kind} reward model",
        key={"kind": kind, "reward_model": settings.model_dump(mode="json")},
        model_path=model_path,
        examples_path=examples_path,
        load=load,
        make_collator=lambda processor: PairCollator(processor, model_settings.prompt, kind=kind),
        options={"batch_size": settings.batch_size, "critique_weight": settings.critique_weight},
        out=out,
        record=record,
        settings=settings,
        model_settings=model_settings,
        seed=seed,
    )


def _new_model(
    path: str | Path, checkpoint: Path | None, *, kind: Kind, seed: int, settings: ModelSettings
) -> tuple[RewardModel, Any]:
    """A new model; with adapters those, and the head, of a checkpoint that holds them alone."""
    whole = settings.lora.rank == 0
    model, processor = new_reward_model(path, kind=kind, seed=seed, settings=settings, train=whole)
    if not whole:
        add_adapters(model.backbone, settings.lora, seed=seed)
    if checkpoint is not None:
        load_adapters(model, checkpoint)
    return model, processor


def _read_examples(path: Path, kind: Kind, budget: Budget) -> Sifted[SFTExample]:
    if kind == "scalar":
        pairs = usable_pairs(path, budget)
        return Sifted([SFTExample(pair, "") for pair in pairs.kept], pairs.left_out)
    examples = usable_targets(path, budget)
    whole = sum(not split_critiques(example.completion).split for example in examples.kept)
    if whole:
        _LOG.warning("%d of %d reasonings do not split into two critiques", whole, len(examples.kept))
    return examples


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log sigmoid(chosen - rejected) of each pair, (B,) from scores (B,) (paper §2)."""
    return -logsigmoid(chosen - rejected)


class PairCollator:
    """Turns B pairs into 2 B prompts, those of the chosen responses first, with their critiques."""

    def __init__(self, processor: Any, prompt: PromptName, *, kind: Kind) -> None:
        self._processor, self._kind = processor, kind
        self._prompt: PromptName = prompt

    def __call__(self, examples: Sequence[SFTExample]) -> dict[str, Any]:
        chosen = [(example, example.pair.preferred) for example in examples]
        rejected = [(example, 3 - position) for example, position in chosen]
        requests = [score_request(e.pair, position, prompt=self._prompt) for e, position in chosen + rejected]
        ids, mask = pad_responses([self._critique(*shown) for shown in chosen + rejected])
        batch = encode(self._processor, requests)
        return {"batch": batch, "responses": ids, "labels": ids.masked_fill(~mask, -100)}

    def _critique(self, example: SFTExample, position: int) -> list[int]:
        if self._kind == "scalar":
            return []
        text = split_critiques(example.completion).texts[position - 1]
        return answer_ids(text, tokenizer=self._processor.tokenizer)


class PreferenceTrainer(CheckpointedTrainer):
    """Bradley-Terry loss, the mean over the pairs of a batch, and critique loss, the mean over its tokens."""

    def __init__(self, *args: Any, batch_size: int, critique_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batch_size, self._critique_weight = batch_size, critique_weight

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor | tuple[Tensor, Any]:
        mask = inputs["labels"] != -100
        scores, log_probs = model(inputs["batch"], responses=inputs["responses"], mask=mask)
        chosen, rejected = scores.chunk(2)
        loss = bradley_terry(chosen, rejected).sum() / self._batch_size
        self.sums["preference_loss"] += float(loss.detach())
        self.sums["accuracy"] += float((chosen > rejected).sum()) / self._batch_size
        self.sums["margin"] += float((chosen - rejected).detach().sum()) / self._batch_size
        if mask.any():
            critique_loss = -log_probs.sum() / num_items_in_batch
            self.sums["critique_loss"] += float(critique_loss.detach())
            loss = loss + self._critique_weight * critique_loss
        return (loss, scores) if return_outputs else loss
