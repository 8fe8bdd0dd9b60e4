"""HF `Trainer` with checkpoints that are whole or absent: what all supervised runs here share.

The Trainer's own checkpoints are pickled and can be left half-written by a kill, so it saves and
resumes through `train.checkpoint`. The order of the examples follows from the seed and the place in the
run alone; nothing else is random.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from r1reward.data.rows import Sifted
from r1reward.engines.loading import files_hash, weights_hash
from r1reward.files import append_jsonl, read_jsonl, sha256_file
from r1reward.locks import exclusive
from r1reward.prompts import PromptName
from r1reward.settings import ClusterSettings, ModelSettings, SFTSettings
from r1reward.texts import plain_text
from r1reward.train import checkpoint
from r1reward.train.checkpoint import save_trained
from r1reward.train.learner import order_of_pass
from r1reward.train.monitor import Show, UpdateMeter, monitor
from r1reward.types import Request

AnyExample = TypeVar("AnyExample", bound="Example")
MAX_GRAD_NORM = 1.0
_TRAINER_STATE = "trainer_state.json"
_NOT_METRICS = ("epoch",)
_CLOCKS = {"seconds": time.monotonic, "cpu_seconds": time.process_time}


class Example(Protocol):
    """A request, by the name of the judge prompt, and the answer to learn."""

    @property
    def completion(self) -> str: ...

    def request(self, prompt: PromptName) -> Request: ...


def run_trainer(
    trainer_class: type[CheckpointedTrainer],
    found: Sifted[AnyExample],
    *,
    name: str,
    key: Mapping[str, Any],
    model_path: str | Path,
    examples_path: str | Path,
    load: Callable[[Path | None], tuple[Any, Any]],
    make_collator: Callable[[Any], Callable[[Sequence[AnyExample]], dict[str, Any]]],
    out: str | Path,
    record: str | Path | None,
    settings: SFTSettings,
    model_settings: ModelSettings,
    seed: int,
    options: Mapping[str, Any] | None = None,
    cluster: ClusterSettings | None = None,
) -> Path:
    """Train on examples, or go on from the last checkpoint in `out`; returns `out/model`.

    Args:
        trainer_class: gives the loss.
        found: the examples of `examples_path`, of which `settings.max_examples` are drawn.
        name: what is running, for the progress line.
        key: what the run is a run of beside model, seed and examples; work in `out` under another key is
            moved aside, see `open_run`.
        load: model and processor of a checkpoint, or of the start for None.
        make_collator: takes the processor; the collator turns examples into the trainer's inputs.
        record: folder of `metrics.jsonl` and `status.json`; `out` unless given.
        options: further arguments of `trainer_class`.
        cluster: how DeepSpeed shards the model over the processes; one process without it.

    Raises BusyError while another process trains in `out`, and ValueError without examples.
    """
    out, record = Path(out), Path(record or out)
    examples = choose_examples(found.kept, settings.max_examples, seed)
    if not examples:
        raise ValueError(f"{examples_path} holds no examples to learn from")
    key = {
        **key,
        "model": model_settings.model_dump(mode="json"),
        "seed": seed,
        "start": weights_hash(model_path),
        "start_files": files_hash(model_path),
        "examples": sha256_file(examples_path),
    }
    steps = math.ceil(settings.epochs * len(examples) / settings.batch_size)
    # Under ZeRO-3 these have to be there before the model is loaded.
    sharding = deepspeed_config(cluster, model_settings.dtype) if cluster else None
    arguments = _arguments(out, settings, seed, steps, sharding)
    main = arguments.process_index == 0
    with exclusive(out) if main else nullcontext():
        with arguments.main_process_first(local=False):
            last = checkpoint.open_run(out, key, record=record, sharded=cluster is not None)
        if checkpoint.final_status(out, record):
            return out / "model"
        model, processor = load(None if cluster else last)
        board, step = out / "tensorboard", checkpoint.step_of(last)
        shown = monitor(name, total=steps, step=step, folder=board) if main else nullcontext()
        with checkpoint.explain_full_disk(out), shown as show:
            trainer = trainer_class(
                model=model,
                args=arguments,
                train_dataset=ExampleStream(
                    examples,
                    prompt=model_settings.prompt,
                    batch_size=settings.batch_size,
                    steps=steps,
                    seed=seed,
                ),
                data_collator=make_collator(processor),
                callbacks=[Recorder(record / "metrics.jsonl", show)] if show else [],
                **(options or {}),
            )
            trainer.processor, trainer.checkpoints = processor, out / "checkpoints"
            for noisy in (ProgressCallback, PrinterCallback):
                trainer.remove_callback(noisy)
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        used = {"examples": len(examples), **({"left_out": found.left_out} if found.left_out else {})}
        trainer.save(out, record, used=used)
    return out / "model"


def answer_ids(text: str, *, tokenizer: Any) -> list[int]:
    """The tokens of an answer to learn and the end token, which it does not hold otherwise."""
    text = plain_text(text, tokenizer=tokenizer)
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def choose_examples(examples: Sequence[AnyExample], limit: int | None, seed: int) -> list[AnyExample]:
    """At most `limit` examples, drawn by the seed and left in their order."""
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = np.random.default_rng([seed, 3]).choice(len(examples), size=limit, replace=False)
    return [examples[index] for index in sorted(chosen.tolist())]


class ExampleStream(Dataset[Any]):
    """The examples of a whole run, pass after pass, each pass in an order of its own.

    Those of one update stand by their length, so that its micro-batches hold less padding.
    """

    def __init__(
        self, examples: Sequence[Example], *, prompt: PromptName, batch_size: int, steps: int, seed: int
    ) -> None:
        self._examples, self._batch_size, self._steps, self._seed = examples, batch_size, steps, seed
        self._lengths = [len(one.request(prompt).text) + len(one.completion) for one in examples]
        self._update, self._batch = -1, list[int]()

    def __len__(self) -> int:
        return self._steps * self._batch_size

    def __getitem__(self, place: int) -> Example:
        update, row = divmod(place, self._batch_size)
        if update != self._update:
            places = range(update * self._batch_size, (update + 1) * self._batch_size)
            self._update, self._batch = (
                update,
                sorted(map(self._drawn, places), key=self._lengths.__getitem__),
            )
        return self._examples[self._batch[row]]

    def _drawn(self, place: int) -> int:
        epoch, index = divmod(place, len(self._examples))
        return order_of_pass(len(self._examples), self._seed, epoch)[index]


class CheckpointedTrainer(Trainer):
    """Trainer that saves and resumes through `train.checkpoint`. Subclasses give `compute_loss`.

    A loss is a sum divided by a count of the whole batch, so that micro-batches add up to it; DeepSpeed takes
    the mean over processes, so each multiplies by their number. What a subclass adds to `sums` during an
    update is logged with the update, and so is `update_to_weight` but for DeepSpeed, whose optimizer holds
    other weights than the model.
    """

    processor: Any = None
    checkpoints: Path = Path()
    meter: UpdateMeter | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True
        self._loss_shifts_labels = False
        self.sums: defaultdict[str, float] = defaultdict(float)

    def save(self, out: Path, record: Path, *, used: Mapping[str, Any]) -> None:
        """Write `out/model` and the run's status with what was `used`; every process has to call this."""
        # ZeRO-3 has sharded them; the main process gets them whole.
        sharded = is_deepspeed_zero3_enabled()
        weights: Any = self.accelerator.get_state_dict(self.model_wrapped) if sharded else None
        if self.args.process_index == 0:
            write = partial(save_trained, self.model, self.processor, weights=weights)
            checkpoint.write_folder(out / "model", write)
            checkpoint.write_status(out, record, status="finished", step=self.state.global_step, used=used)
        self.accelerator.wait_for_everyone()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        moved = {"update_to_weight": self.meter.ratio} if self.meter and "loss" in logs else {}
        super().log({**logs, **moved, **self.sums}, start_time)
        self.sums.clear()

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """The Trainer's, whose steps are measured."""
        optimizer = super().create_optimizer(*args, **kwargs)
        if not self.is_deepspeed_enabled:
            self.meter = UpdateMeter(optimizer)
        return optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.is_deepspeed_enabled:
            # Each process writes its part, and only DeepSpeed can put the parts together again.
            return super()._save_checkpoint(model, trial)
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
        if self.is_deepspeed_enabled:
            super()._load_optimizer_and_scheduler(checkpoint_)
        elif checkpoint_ is not None:
            checkpoint.load_optimizer(self.optimizer, Path(checkpoint_))
            self.lr_scheduler.load_state_dict(checkpoint.checkpoint_state(Path(checkpoint_))["scheduler"])  # type: ignore[union-attr]

    def _load_rng_state(self, checkpoint_: str | None) -> None:
        """Nothing random remains: the order of the examples follows from the seed."""


class Recorder(TrainerCallback):
    """Writes the metrics of every update; times count from the start of the run, kills left out.

    `seconds` are the clock's, `cpu_seconds` this process's.
    """

    def __init__(self, path: Path, show: Show) -> None:
        self._path, self._show = path, show
        rows = read_jsonl(path) if path.is_file() else []
        self._before = {clock: rows[-1][clock] if rows else 0.0 for clock in _CLOCKS}
        self._started = {clock: read() for clock, read in _CLOCKS.items()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = {clock: read() for clock, read in _CLOCKS.items()}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            metrics = {key: float(value) for key, value in logs.items() if key not in _NOT_METRICS}
            row = {"step": state.global_step, **metrics}
            row |= {
                clock: self._before[clock] + read() - self._started[clock] for clock, read in _CLOCKS.items()
            }
            append_jsonl(self._path, row)
            self._show(row)


def deepspeed_config(cluster: ClusterSettings, dtype: str) -> dict[str, Any]:
    """DeepSpeed's own settings; everything else it takes from the trainer."""
    offload = {"offload_optimizer": {"device": "cpu"}} if cluster.offload_optimizer else {}
    return {
        "zero_optimization": {
            "stage": cluster.zero_stage,
            "stage3_gather_16bit_weights_on_model_save": True,
            **offload,
        },
        "bf16": {"enabled": dtype == "bfloat16"},
        "gradient_clipping": MAX_GRAD_NORM,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        # PyTorch's AdamW, as in a run of one process.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def _arguments(
    out: Path, settings: SFTSettings, seed: int, steps: int, sharding: dict[str, Any] | None
) -> TrainingArguments:
    processes = int(os.environ.get("WORLD_SIZE", "1")) if sharding else 1
    micro = min(settings.micro_batch_size, settings.batch_size)
    if settings.batch_size % (micro * processes):
        shares = f" x {processes} processes" if sharding else ""
        raise ValueError(
            f"batch_size {settings.batch_size} is no multiple of micro_batch_size {micro}{shares}"
        )
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch_size // (micro * processes),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(settings.warmup_ratio * steps),
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=MAX_GRAD_NORM,
        deepspeed=sharding,
        save_total_limit=checkpoint.KEPT,
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
