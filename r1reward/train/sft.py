"""The cold start: supervised fine-tuning on long chains of thought (paper §3.2, §4), on HF `Trainer`.

The loss is the negative log-probability of the answer's tokens, the end token included, computed by the
same forward as in RL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from r1reward.data.rows import Sifted
from r1reward.data.storage import usable_targets
from r1reward.engines.inputs import Batch, encode
from r1reward.engines.log_probs import pad_responses, policy_forward
from r1reward.files import read_jsonl
from r1reward.pictures import Budget
from r1reward.settings import ClusterSettings, ModelSettings, SFTSettings
from r1reward.train.checkpoint import load_policy
from r1reward.train.trainer import CheckpointedTrainer, Example, answer_ids, run_trainer


def train_sft(
    model_path: str | Path,
    examples_path: str | Path,
    *,
    out: str | Path,
    settings: SFTSettings,
    model_settings: ModelSettings,
    seed: int,
    record: str | Path | None = None,
    max_prompt_tokens: int | None = None,
    read: Callable[[str | Path], Sequence[Example]] | None = None,
    cluster: ClusterSettings | None = None,
) -> Path:
    """Fine-tune a model on cold-start examples; returns the folder of the result, `out/model`.

    If `out` holds a checkpoint of the same run, it goes on from there.

    Args:
        model_path: checkpoint folder or hub id; "mini" is the shipped tiny base model.
        examples_path: JSON lines written by `data.storage.write_pairs`; faulty rows and answers that are no
            targets are left out with a warning.
        out: checkpoints, TensorBoard events and the final model go here.
        record: folder of `metrics.jsonl` and `status.json`; `out` unless given.
        read: reads the examples where they are not those of the cold start.
        cluster: shards the model by DeepSpeed over the processes that call this together (`cluster.sft`).
    """

    def load(last: Path | None) -> tuple[Any, Any]:
        sharded = cluster is not None
        model, processor = load_policy(
            model_path, checkpoint=last, settings=model_settings, seed=seed, sharded=sharded
        )
        if cluster:
            # DeepSpeed gathers weights inside the model's own forward only.
            model.forward = partial(response_log_probs, model)
            model.model.visual.requires_grad_(not cluster.freeze_vision)
            if cluster.gradient_checkpointing:
                model.gradient_checkpointing_enable()
        return model, processor

    budget = Budget(model_settings.min_pixels, model_settings.max_pixels)
    found: Sifted[Any] = Sifted(list(read(examples_path))) if read else usable_targets(examples_path, budget)
    return run_trainer(
        ResponseTrainer,
        found,
        name="sft",
        key={"sft": settings.model_dump(mode="json")},
        model_path=model_path,
        examples_path=examples_path,
        load=load,
        make_collator=lambda processor: Collator(processor, model_settings.prompt, max_prompt_tokens),
        out=out,
        record=record,
        settings=settings,
        model_settings=model_settings,
        seed=seed,
        cluster=cluster,
    )


class Collator:
    """Turns examples into prompts with pictures and right-padded answers."""

    def __init__(self, processor: Any, prompt: Any, max_prompt_tokens: int | None) -> None:
        self._processor, self._prompt, self._max_prompt_tokens = processor, prompt, max_prompt_tokens

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        tokenizer = self._processor.tokenizer
        requests = [example.request(self._prompt) for example in examples]
        ids, mask = pad_responses([answer_ids(one.completion, tokenizer=tokenizer) for one in examples])
        batch = encode(self._processor, requests, max_prompt_tokens=self._max_prompt_tokens)
        return {"batch": batch, "responses": ids, "labels": ids.masked_fill(~mask, -100)}


class ResponseTrainer(CheckpointedTrainer):
    """The mean negative log-probability of all answer tokens of a batch."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor | tuple[Tensor, Any]:
        mask = inputs["labels"] != -100
        forward = model if self.is_deepspeed_enabled else partial(response_log_probs, model)
        log_probs = forward(batch=inputs["batch"], responses=inputs["responses"], mask=mask)
        total = mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = -log_probs.sum() / total * self.accelerator.num_processes
        return (loss, log_probs) if return_outputs else loss


def response_log_probs(model: Any, *, batch: Batch, responses: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities (B, T) of the answers' tokens, see `policy_forward`."""
    return policy_forward(model, batch, responses=responses, mask=mask).log_probs


def run_seconds(record: Path) -> float:
    """Processor seconds that the steps of a finished RL run took, by its `metrics.jsonl`."""
    return sum(row["cpu_seconds"] for row in read_jsonl(record / "metrics.jsonl"))


def continued_settings(
    settings: SFTSettings, *, rl_record: Path, sft_record: Path, num_examples: int
) -> SFTSettings:
    """SFT settings over all examples whose run takes as long as an RL run, with its own full schedule.

    The pace is that of the cold start whose metrics are in `sft_record`. The learning rate rises and
    falls over the new run, so the control is not handicapped by a rate that never comes down.
    """
    last = read_jsonl(sft_record / "metrics.jsonl")[-1]
    updates = max(1, round(run_seconds(rl_record) * last["step"] / last["cpu_seconds"]))
    return settings.model_copy(
        update={"epochs": updates * settings.batch_size / num_examples, "max_examples": None}
    )
