"""Builds the shipped tiny base model: perception first, then short instructions (`r1reward mini build-base`).

Not part of the paper: it makes the model that stands in for Qwen2.5-VL-7B-Instruct at mini scale. The
curriculum is in `mini/lessons.py`. Update `i` draws its lessons from the seed and `i` alone, so a
killed build goes on from its last checkpoint to the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from r1reward.files import append_jsonl
from r1reward.locks import exclusive
from r1reward.mini import tiny
from r1reward.mini.lessons import CURRICULUM, LESSONS, Lesson, draw_lesson
from r1reward.mini.scene import Split, render
from r1reward.mini.tasks import COMPOSED, TASKS, write_reasoning
from r1reward.progress import Progress
from r1reward.prompts import judge_template
from r1reward.train.checkpoint import (
    checkpoint_state,
    load_optimizer,
    open_run,
    save_checkpoint,
    write_folder,
)

BATCH_SIZE = 64
# Learning rate of AdamW by update, linear between these points.
RATE_STEPS = (0, 100, 3540, 3600, 4200, 5200, 6000)
RATES = (0.0, 1e-3, 1e-3, 9.75e-4, 4.7e-4, 4.7e-4, 3e-5)
TOTAL_STEPS = sum(stage.steps for stage in CURRICULUM)
VISUAL_TOKENS = 9
IGNORED = -100


def tokenizer_texts() -> list[str]:
    """The words of the mini world and the judge prompts, in the proportions the tokenizer learns from."""
    rng = np.random.default_rng(1)
    texts = []
    for make in (make for task, make in TASKS.items() if task not in COMPOSED):
        for _ in range(200):
            case = make(rng)
            right = case.right_values()
            reasoning, _ = write_reasoning(case.facts, right, case.wrong, tie=1)
            texts += [case.question, case.answer(right), case.answer(case.wrong), reasoning]
    for name in ("shapes", "cells", "digits", "counts", "questions", "cases", "moves"):
        for _ in range(200):
            for question, answer in LESSONS[name](rng).turns:
                texts += [question, answer]
    # Table 1 as the paper prints it, one list item a line; the release joins the first two lines.
    paper = judge_template("paper").replace("question. - Start", "question.\n\n- Start")
    texts += [judge_template("mini")] * 50 + [paper + "\n"] * 50
    return texts + ["user\n", "assistant\n"] * 50


class LessonEncoder:
    """Turns lessons into a padded batch; only answers carry labels."""

    def __init__(self, processor: Qwen2_5_VLProcessor) -> None:
        self.processor: Any = processor
        self.tokenizer: Any = processor.tokenizer
        self.special = {token: self.tokenizer.convert_tokens_to_ids(token) for token in tiny.QWEN_TOKENS}
        self.pieces = lru_cache(100_000)(
            lambda text: tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        )

    def _tokens(self, lesson: Lesson) -> tuple[list[int], list[int]]:
        """Token ids and labels of one conversation, (T,) each."""
        pad = self.special["<|video_pad|>" if len(lesson.scenes) > 1 else "<|image_pad|>"]
        start, end = self.special["<|im_start|>"], self.special["<|im_end|>"]
        picture = [self.special["<|vision_start|>"], *[pad] * VISUAL_TOKENS, self.special["<|vision_end|>"]]
        newline = self.pieces("\n")
        ids: list[int] = []
        labels: list[int] = []
        for turn, (question, answer) in enumerate(lesson.turns):
            asked = [start, *self.pieces("user\n"), *(picture if turn == 0 else ()), *self.pieces(question)]
            asked += [end, *newline, start, *self.pieces("assistant\n")]
            answered = [*self.pieces(answer), end]
            ids += [*asked, *answered, *newline]
            labels += [*[IGNORED] * len(asked), *answered, *[IGNORED] * len(newline)]
        return ids, labels

    def _pictures(
        self, lessons: list[Lesson], rngs: list[np.random.Generator], split: Split
    ) -> dict[str, Any]:
        pictures, videos = [], []
        for lesson, rng in zip(lessons, rngs, strict=True):
            look = int(rng.integers(2**31))
            frames = [render(scene, np.random.default_rng(look), split) for scene in lesson.scenes]
            (videos if len(frames) > 1 else pictures).append(frames)
        inputs: dict[str, Any] = {}
        if pictures:
            inputs |= self.processor.image_processor([frames[0] for frames in pictures], return_tensors="pt")
        if videos:
            clips = [
                torch.stack([torch.from_numpy(np.array(f)).permute(2, 0, 1) for f in frames])
                for frames in videos
            ]
            video = self.processor.video_processor(clips, return_tensors="pt", do_sample_frames=False)
            inputs["pixel_values_videos"] = video["pixel_values_videos"]
            inputs["video_grid_thw"] = video["video_grid_thw"]
            inputs["second_per_grid_ts"] = [1.0] * len(videos)
        return inputs

    def __call__(
        self, lessons: list[Lesson], rngs: list[np.random.Generator], split: Split = "train"
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Model inputs and labels (B, T), right-padded. The generators decide how the scenes look."""
        rows = [self._tokens(lesson) for lesson in lessons]
        length = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        labels = torch.full((len(rows), length), IGNORED)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for row, (row_ids, row_labels) in enumerate(rows):
            ids[row, : len(row_ids)] = torch.tensor(row_ids)
            labels[row, : len(row_ids)] = torch.tensor(row_labels)
            mask[row, : len(row_ids)] = 1
        kinds = (ids == self.special["<|image_pad|>"]).long() + 2 * (
            ids == self.special["<|video_pad|>"]
        ).long()
        inputs = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": kinds}
        return inputs | self._pictures(lessons, rngs, split), labels


class LessonStream(torch.utils.data.IterableDataset):
    """Batches of updates `start`..`end`, drawn in a worker process beside training."""

    def __init__(self, encoder: LessonEncoder, start: int, end: int, seed: int) -> None:
        self.encoder, self.start, self.end, self.seed = encoder, start, end, seed

    def __iter__(self) -> Iterator[tuple[int, tuple[dict[str, torch.Tensor], torch.Tensor]]]:
        torch.set_num_threads(1)
        for step in range(self.start, self.end):
            rngs = [np.random.default_rng([self.seed, step, index]) for index in range(BATCH_SIZE)]
            yield step, self.encoder([draw_lesson(step, rng) for rng in rngs], rngs)


def lesson_loss(
    model: Qwen2_5_VLForConditionalGeneration, inputs: dict[str, torch.Tensor], labels: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy of the answer tokens; logits are made only where there is a label."""
    hidden = model.model(**inputs, use_cache=False)[0][:, :-1]
    targets = labels[:, 1:]
    answered = targets != IGNORED
    return cross_entropy(model.lm_head(hidden[answered]), targets[answered])


def build_base(out: Path, *, seed: int = 0, steps: int = TOTAL_STEPS, save_steps: int = 200) -> Path:
    """Train the base model into `out/model`; a killed or shorter build goes on from its last checkpoint.

    `out/metrics.jsonl` gets step, loss, learning_rate and seconds of every hundredth update. Raises BusyError
    while another process builds in `out`. What another seed left there is moved aside.
    """
    with exclusive(out):
        last = open_run(out, {"base": {"seed": seed}}, record=out)
        return _build(out, seed=seed, steps=steps, save_steps=save_steps, last=last)


def _build(out: Path, *, seed: int, steps: int, save_steps: int, last: Path | None) -> Path:
    checkpoints, metrics = out / "checkpoints", out / "metrics.jsonl"
    model, processor = tiny.build_tiny(seed, tokenizer_texts())
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    start = _go_on(last, model, optimizer)
    stream = LessonStream(LessonEncoder(processor), start, steps, seed)
    progress, losses, begun = Progress("base model, update"), [], time.monotonic()
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)
    for step, (inputs, labels) in loader:
        rate = float(np.interp(step + 1, RATE_STEPS, RATES))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = lesson_loss(model, inputs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        done = step + 1
        if done % 100 == 0 or done == steps:
            row = {"step": done, "loss": sum(losses) / len(losses), "learning_rate": rate}
            append_jsonl(metrics, row | {"seconds": round(time.monotonic() - begun, 1)})
            losses = []
        if done % save_steps == 0 or done == steps:
            save_checkpoint(
                checkpoints, done, model=model, processor=processor, optimizer=optimizer, state={}
            )
        progress(done, steps, note=f"loss {loss.item():.3f}")
    return write_folder(out / "model", lambda folder: tiny.save(model, processor, folder))


def _go_on(last: Path | None, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint, if any, and return the number of updates done."""
    if last is None:
        return 0
    # Saved under the names of the hub, which only from_pretrained maps back.
    saved = Qwen2_5_VLForConditionalGeneration.from_pretrained(last)
    model.load_state_dict(saved.state_dict())
    load_optimizer(optimizer, last)
    return int(checkpoint_state(last)["step"])
