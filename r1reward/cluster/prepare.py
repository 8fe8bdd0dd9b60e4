"""What an RL run of OpenRLHF reads, written from the same pairs, checkpoint and settings as here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from r1reward.engines.inputs import build_messages, check_lengths, count_tokens, render_chat
from r1reward.engines.loading import load_processor, model_folder, require_whole, write_picture_budget
from r1reward.files import write_atomic
from r1reward.judge.generative import judge_request
from r1reward.pictures import Budget
from r1reward.settings import Algorithm, ModelSettings, Profile
from r1reward.train.checkpoint import write_folder
from r1reward.types import PreferencePair

_WEIGHTS = (".safetensors", ".safetensors.index.json")


def write_prompts(
    pairs: Iterable[PreferencePair],
    out: Path,
    *,
    start: Path,
    settings: ModelSettings,
    max_prompt_tokens: int,
) -> Path:
    """Write a JSON line a pair, see `prompt_row`.

    Raises PictureError, and PromptTooLongError, which would end a run of OpenRLHF in its middle.
    """
    processor = load_processor(start)
    rows = (prompt_row(pair, processor, settings, max_prompt_tokens) for pair in pairs)
    return write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def prompt_row(
    pair: PreferencePair, processor: Any, settings: ModelSettings, max_prompt_tokens: int
) -> dict[str, Any]:
    """The prompt as it is rendered here, so that control tokens of a response stay text, and its label.

    Frames of a video are pictures after the others: OpenRLHF has no videos.
    """
    request = judge_request(pair, prompt=settings.prompt)
    pictures = [*request.images, *request.frames]
    budget = Budget(settings.min_pixels, settings.max_pixels)
    as_pictures = type(request)(request.text, tuple(pictures), (), request.origin)
    messages = build_messages(as_pictures, budget=budget)
    text = render_chat(processor, messages)
    loaded = [part["image"] for part in messages[0]["content"] if part["type"] == "image"]
    check_lengths([_count_tokens(processor, text, loaded)], [as_pictures], max_prompt_tokens)
    return {
        "input": text,
        "images": [os.path.abspath(picture) for picture in pictures],
        "label": json.dumps({"pair_id": pair.pair_id, "preferred": pair.preferred}),
        "datasource": pair.source,
    }


def _count_tokens(processor: Any, text: str, pictures: list[Any]) -> int:
    """Tokens of a prompt with its pictures."""
    vision = processor.image_processor
    side, size = vision.patch_size * vision.merge_size, vision.size
    limits = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    areas = [smart_resize(one.height, one.width, factor=side, **limits) for one in pictures]
    return count_tokens(processor, text, [height * width for height, width in areas])


def prepare_start(start: str | Path, out: Path, settings: ModelSettings) -> Path:
    """The checkpoint to start from with the picture budget in its processor; weights are links.

    OpenRLHF loads the processor as it is: without a budget a picture may take 16,384 visual tokens. Raises
    FileNotFoundError for a checkpoint that is not on this machine, and CheckpointError for one that is not
    whole.
    """
    source = Path(model_folder(start))
    if not source.is_dir():
        raise FileNotFoundError(f"{start} is not here: download it (hf download {start}) and name its folder")
    require_whole(source)

    def write(folder: Path) -> None:
        for file in sorted(source.iterdir()):
            if file.name.endswith(_WEIGHTS):
                (folder / file.name).symlink_to(file.resolve())
            elif file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        write_picture_budget(folder, settings)

    return write_folder(out, write)


def complete_export(export: Path, start: Path) -> Path:
    """Add what OpenRLHF leaves out of an exported checkpoint, so that everything here loads it.

    Raises FileNotFoundError where OpenRLHF has saved no weights.
    """
    if not list(export.glob("*.safetensors")):
        raise FileNotFoundError(f"OpenRLHF has saved no weights in {export}: see its log")
    for file in sorted(start.iterdir()):
        if not file.name.endswith(_WEIGHTS) and not (export / file.name).exists():
            write_atomic(export / file.name, file.read_bytes())
    return export


# How the advantages of an algorithm are made; the loss is PPO's, with what `hook` puts into it.
ESTIMATORS: dict[Algorithm, str] = {
    "stable_reinforce": "reinforce",
    "reinforce_pp": "reinforce",
    "ppo": "reinforce",
    "grpo": "group_norm",
}
ADAM_BETAS = ("0.9", "0.95")
REDUCTIONS = {"token": "token-mean", "response": "seq-mean-token-mean"}
SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine_with_min_lr"}
Flags = dict[str, str | tuple[str, ...] | bool]


def rl_flags(
    profile: Profile,
    *,
    start: Path,
    prompts: Path,
    pictures: int,
    passes: int,
    agent: Path,
    out: Path,
    seed: int,
) -> list[str]:
    """The command line of a run of so many passes; no prompt has more than `pictures` pictures.

    Raises ValueError for settings that OpenRLHF cannot follow.
    """
    rl, cluster, engine = profile.rl, profile.cluster, profile.engine
    _check(profile)
    flags: Flags = {
        "actor.model_name_or_path": str(start),
        "actor.num_nodes": str(cluster.nodes),
        "actor.num_gpus_per_node": str(cluster.gpus_per_node),
        "actor.adam.lr": str(rl.learning_rate),
        "actor.adam.betas": ADAM_BETAS,
        "actor.lr_scheduler": SCHEDULES[rl.schedule],
        "actor.lr_warmup_ratio": str(rl.warmup_ratio),
        "actor.max_norm": str(rl.max_grad_norm),
        "actor.eps_clip": str(rl.clip_eps),
        "actor.loss_agg_mode": REDUCTIONS[rl.loss_reduction],
        "actor.gradient_checkpointing_enable": cluster.gradient_checkpointing,
        "actor.freeze_visual_encoder": cluster.freeze_vision,
        "ref.num_nodes": str(cluster.nodes),
        "ref.num_gpus_per_node": str(cluster.gpus_per_node),
        "vllm.num_engines": str(cluster.engines),
        "vllm.tensor_parallel_size": str(cluster.tensor_parallel_size),
        "vllm.gpu_memory_utilization": str(cluster.engine_memory),
        "vllm.sync_backend": cluster.sync_backend,
        "vllm.enforce_eager": cluster.eager,
        "train.colocate_all": cluster.colocate,
        "vllm.enable_sleep": cluster.colocate,
        "ds.enable_sleep": cluster.colocate,
        "ds.zero_stage": str(cluster.zero_stage),
        "ds.param_dtype": "bf16",
        "ds.attn_implementation": cluster.attention,
        "ds.adam_offload": cluster.offload_optimizer,
        "algo.advantage.estimator": ESTIMATORS[rl.algorithm] if rl.normalize_groups else "dr_grpo",
        "algo.advantage.is_correction_level": "token" if cluster.measure_mismatch else "off",
        "algo.kl.init_coef": str(rl.kl_coef),
        "algo.kl.use_loss": rl.algorithm == "grpo" and rl.kl_coef > 0,
        "algo.kl.estimator": "k3" if rl.algorithm == "grpo" else "k1",
        "data.prompt_dataset": str(prompts),
        "data.input_key": "input",
        "data.label_key": "label",
        "data.image_key": "images",
        "data.max_images_per_prompt": str(pictures),
        "data.max_len": str(engine.max_prompt_tokens + engine.max_new_tokens),
        "rollout.max_new_tokens": str(engine.max_new_tokens),
        "rollout.batch_size": str(rl.rollout_batch_size),
        "rollout.n_samples_per_prompt": str(rl.samples_per_prompt),
        "rollout.micro_batch_size": str(rl.micro_batch_size),
        "rollout.temperature": str(rl.temperature),
        "train.batch_size": str(rl.train_batch_size),
        "train.micro_batch_size": str(rl.micro_batch_size),
        "train.num_episodes": str(passes),
        "train.max_epochs": str(rl.inner_epochs),
        "train.seed": str(seed),
        "train.agent_func_path": str(agent),
        "ckpt.path": str(out / "checkpoints"),
        "ckpt.output_dir": str(out / "model"),
        "ckpt.save_steps": str(rl.save_steps),
        "ckpt.load_enable": True,
        "logger.tensorboard_dir": str(out / "tensorboard"),
    }
    return list(_written(flags))


def _written(flags: Flags):
    for name, value in flags.items():
        if value is False:
            continue
        yield f"--{name}"
        if isinstance(value, tuple):
            yield from value
        elif value is not True:
            yield value


def _check(profile: Profile) -> None:
    rl, cluster = profile.rl, profile.cluster
    if rl.algorithm not in ESTIMATORS:
        raise ValueError(f"OpenRLHF has no {rl.algorithm}: rl.algorithm is one of {', '.join(ESTIMATORS)}")
    if profile.model.lora.rank:
        raise ValueError("model.lora is for one card: set model.lora.rank to 0")
    if rl.rollout_lag or rl.rollout_precision != "same":
        raise ValueError(
            "rl.rollout_lag and rl.rollout_precision are for one process: leave them as they are"
        )
    samples, actors = rl.rollout_batch_size * rl.samples_per_prompt, cluster.nodes * cluster.gpus_per_node
    if rl.train_batch_size % (rl.micro_batch_size * actors):
        raise ValueError(
            f"rl.train_batch_size {rl.train_batch_size} is no multiple of rl.micro_batch_size "
            f"{rl.micro_batch_size} x {actors} GPUs"
        )
    if samples % rl.train_batch_size:
        raise ValueError(f"{samples} samples a rollout are no multiple of rl.train_batch_size")
    engines = cluster.engines * cluster.tensor_parallel_size
    if cluster.colocate and engines != actors:
        raise ValueError(
            f"cluster.colocate shares GPUs: {engines} of the engines must be {actors} of the actors"
        )
