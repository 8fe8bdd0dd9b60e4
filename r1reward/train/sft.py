"""The cold start: supervised fine-tuning on long chains of thought (paper §3.2, §4), on HF `Trainer`.

The loss is the negative log-probability of the answer's tokens, the end token included, computed by the
same forward as in RL. The Trainer's own checkpoints are pickled and can be left half-written by a kill,
so it saves and resumes through `train.checkpoint`. The order of the examples follows from the seed and
the place in the run alone; nothing else is random.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from r1reward.config import ModelSettings, SFTSettings
from r1reward.data.cold_start import read_sft
from r1reward.engines.inputs import encode
from r1reward.engines.loading import load_model, save_model, weights_hash
from r1reward.engines.log_probs import pad_responses, policy_forward
from r1reward.files import append_jsonl, read_jsonl, sha256_file, write_json
from r1reward.prompts import PromptName
from r1reward.train import checkpoint
from r1reward.train.monitor import Monitor
from r1reward.types import Request

_LOG = logging.getLogger(__name__)
_TRAINER_STATE = "trainer_state.json"
_LOGGED = ("loss", "learning_rate", "grad_norm")


class Example(Protocol):
    """A request, by the name of the judge prompt, and the answer to learn."""

    @property
    def completion(self) -> str: ...

    def request(self, prompt: PromptName) -> Request: ...


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
    read: Callable[[str | Path], Sequence[Example]] = read_sft,
    resume: bool = True,
    quiet: bool = False,
) -> Path:
    """Fine-tune a model on cold-start examples; returns the folder of the result, `out/model`.

    Args:
        model_path: checkpoint folder or hub id; "mini" is the shipped tiny base model.
        examples_path: JSON lines written by `data.cold_start.write_sft`.
        out: checkpoints, TensorBoard events and the final model go here.
        record: folder of `metrics.jsonl` and `status.json`; `out` unless given.
        read: reads the examples where they are not those of the cold start.
        resume: go on from the last checkpoint if `out` holds one of the same run.
        quiet: no progress line.
    """
    out, record = Path(out), Path(record or out)
    examples = choose_examples(read(examples_path), settings.max_examples, seed)
    if not examples:
        raise ValueError(f"{examples_path} holds no examples to learn from")
    key = {
        "settings": [part.model_dump(mode="json") for part in (settings, model_settings)],
        "seed": seed,
        "inputs": [weights_hash(model_path), sha256_file(examples_path)],
    }
    last = checkpoint.open_run(out, key, resume=resume, record=record)
    if checkpoint.final_status(out, record):
        return out / "model"
    model, processor = load_model(last or model_path, settings=model_settings)
    steps = math.ceil(settings.epochs * len(examples) / settings.batch_size)
    stream = ExampleStream(examples, seed=seed, length=steps * settings.batch_size)
    step = checkpoint.checkpoint_state(last)["step"] if last else 0
    board = out / "tensorboard"
    with (
        checkpoint.explain_full_disk(out),
        Monitor("sft", total=steps, step=step, folder=board, quiet=quiet) as monitor,
    ):
        trainer = ResponseTrainer(
            model=model,
            args=_arguments(out, settings, seed, steps),
            train_dataset=stream,
            data_collator=Collator(processor, model_settings.prompt, max_prompt_tokens),
            callbacks=[Recorder(record / "metrics.jsonl", monitor)],
        )
        trainer.processor, trainer.checkpoints = processor, out / "checkpoints"
        for noisy in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(noisy)
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    folder = checkpoint.write_folder(out / "model", lambda path: save_model(model, processor, path))
    write_json(record / "status.json", {"status": "finished", "step": trainer.state.global_step})
    return folder


def choose_examples(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """At most `limit` examples, drawn by the seed and left in their order."""
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = np.random.default_rng([seed, 3]).choice(len(examples), size=limit, replace=False)
    return [examples[index] for index in sorted(chosen.tolist())]


class ExampleStream(Dataset[Example]):
    """The examples of a whole run, pass after pass, each pass in an order of its own."""

    def __init__(self, examples: Sequence[Example], *, seed: int, length: int) -> None:
        self._examples, self._seed, self._length = examples, seed, length
        self._epoch, self._order = -1, np.empty(0)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> Example:
        epoch, index = divmod(place, len(self._examples))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._examples))
        return self._examples[int(self._order[index])]


class Collator:
    """Turns examples into prompts with pictures and right-padded answers."""

    def __init__(self, processor: Any, prompt: Any, max_prompt_tokens: int | None) -> None:
        self._processor, self._prompt, self._max_prompt_tokens = processor, prompt, max_prompt_tokens

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        tokenizer = self._processor.tokenizer
        requests = [example.request(self._prompt) for example in examples]
        answers = [
            [*tokenizer(example.completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            for example in examples
        ]
        ids, mask = pad_responses(answers)
        batch = encode(self._processor, requests, max_prompt_tokens=self._max_prompt_tokens)
        return {"batch": batch, "responses": ids, "labels": ids.masked_fill(~mask, -100)}


class ResponseTrainer(Trainer):
    """Trainer with the loss on answers only, and checkpoints that are whole or absent."""

    processor: Any = None
    checkpoints: Path = Path()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The loss below is divided by the number of answer tokens of the whole batch.
        self.model_accepts_loss_kwargs = True
        self._loss_shifts_labels = False

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor | tuple[Tensor, Any]:
        mask = inputs["labels"] != -100
        output = policy_forward(model, inputs["batch"], responses=inputs["responses"], mask=mask)
        total = mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = -output.log_probs.sum() / total
        return (loss, output) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoint.save_checkpoint(
            self.checkpoints,
            self.state.global_step,
            model=self.model,
            processor=self.processor,
            optimizer=self.optimizer,
            state={"scheduler": self.lr_scheduler.state_dict()},  # type: ignore[union-attr]
            also=lambda folder: self.state.save_to_json(str(folder / _TRAINER_STATE)),
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The model was loaded from the checkpoint before the Trainer was made."""

    def _load_optimizer_and_scheduler(self, checkpoint_: str | None) -> None:
        if checkpoint_ is not None:
            checkpoint.load_optimizer(self.optimizer, Path(checkpoint_))
            self.lr_scheduler.load_state_dict(checkpoint.checkpoint_state(Path(checkpoint_))["scheduler"])  # type: ignore[union-attr]

    def _load_rng_state(self, checkpoint_: str | None) -> None:
        """Nothing random remains: the order of the examples follows from the seed."""


class Recorder(TrainerCallback):
    """Writes the metrics of every update; `seconds` counts from the start of the run, kills left out."""

    def __init__(self, path: Path, monitor: Monitor) -> None:
        self._path, self._monitor = path, monitor
        rows = read_jsonl(path) if path.is_file() else []
        self._before = rows[-1]["seconds"] if rows else 0.0
        self._started = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            row = {"step": state.global_step, **{key: float(logs[key]) for key in _LOGGED}}
            row["seconds"] = self._before + time.monotonic() - self._started
            append_jsonl(self._path, row)
            self._monitor.show(row)


def _arguments(out: Path, settings: SFTSettings, seed: int, steps: int) -> TrainingArguments:
    micro = min(settings.micro_batch_size, settings.batch_size)
    if settings.batch_size % micro:
        raise ValueError(f"batch_size {settings.batch_size} is no multiple of micro_batch_size {micro}")
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch_size // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(settings.warmup_ratio * steps),
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=[],
        seed=seed,
    )
