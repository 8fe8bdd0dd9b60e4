"""RL of a judge on OpenRLHF: writes what it reads, starts or joins Ray, runs it, and reads its logs back."""

from __future__ import annotations

import json
import logging
import os
import runpy
import shlex
import shutil
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from r1reward.cluster import hook, rewards
from r1reward.cluster.prepare import complete_export, prepare_start, rl_flags, write_prompts
from r1reward.data.storage import usable_pairs
from r1reward.engines.loading import checkpoint_hash
from r1reward.engines.log_probs import vision_token_ids
from r1reward.files import read_json, sha256_file, write_atomic, write_json
from r1reward.pictures import Budget
from r1reward.settings import Profile
from r1reward.types import PreferencePair

# OpenRLHF loads it as a file.
AGENT = Path(__file__).with_name("agent.py")
MODULE = "openrlhf.cli.train_ppo_ray"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """A run prepared in the folder `out`: the flags of OpenRLHF and the environment of all workers."""

    out: Path
    flags: Sequence[str]
    environment: Mapping[str, str]

    def command(self) -> str:
        """What is run, as a shell would take it; for reading, since the hook comes with `run`."""
        lines = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " \\\n  ".join([*lines, f"python -m {MODULE}", *_grouped(self.flags)])


def prepare(
    profile: Profile, *, start: str | Path, pairs: Path, out: Path, seed: int, judges: Path | None = None
) -> Launch:
    """Write prompts, start and settings of a run into `out`.

    Args:
        start: the cold-started checkpoint, a folder on this machine.
        pairs: JSON lines written by `data.storage.write_pairs`, such as `rl.jsonl`.
        out: must be seen by all machines.
        judges: folder of trained consistency judges, where `judges.name` is "trained".

    Raises ValueError for settings that OpenRLHF cannot follow, and for no pairs.
    """
    out = out.resolve()
    folder = prepare_start(start, out / "start", profile.model)
    prompts = out / "prompts.jsonl"
    _check_judge(profile)
    budget = Budget(profile.model.min_pixels, profile.model.max_pixels)
    usable = usable_pairs(pairs, budget)
    chosen, passes = _choose(usable.kept, profile, pairs)
    most = max(len(pair.images) + len(pair.frames) for pair in chosen)
    flags = rl_flags(
        profile,
        start=folder,
        prompts=prompts,
        pictures=most,
        passes=passes,
        agent=AGENT,
        out=out,
        seed=seed,
    )
    write_prompts(
        chosen,
        prompts,
        start=folder,
        settings=profile.model,
        max_prompt_tokens=profile.engine.max_prompt_tokens,
    )
    environment = {
        hook.SETTINGS_VARIABLE: profile.rl.model_dump_json(),
        rewards.PROFILE_VARIABLE: profile.model_dump_json(),
        rewards.FOLDER_VARIABLE: str(out),
        rewards.JUDGES_VARIABLE: str((judges or out).resolve()),
        rewards.SEED_VARIABLE: str(seed),
        rewards.VISION_VARIABLE: json.dumps(_vision_tokens(folder)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    known = {
        "flags": flags,
        "environment": environment,
        "pairs": sha256_file(pairs),
        **({"left_out": usable.left_out} if usable.left_out else {}),
        "start": checkpoint_hash(start),
        "judge": _judge_hash(profile, judges or out),
    }
    _refuse_another(out, known)
    write_json(out / "launch.json", known)
    return Launch(out, flags, environment)


def run(launch: Launch, *, address: str | None = None, ray_options: Mapping[str, Any] | None = None) -> Path:
    """Run a prepared launch, or go on from its last checkpoint; returns the folder of the trained model.

    Args:
        address: of a Ray cluster to join; RAY_ADDRESS, or a cluster of this machine alone, unless given.
        ray_options: further arguments of `ray.init`.

    OpenRLHF may end well after a fault, so logs and weights are checked. Raises what it raises, ValueError
    for logs that lack our metrics and FileNotFoundError without weights.
    """
    os.environ |= launch.environment
    hook.install()  # first: it says what is not installed
    import ray  # type: ignore[import-not-found]  # noqa: PLC0415

    workers = {
        "worker_process_setup_hook": f"{hook.__name__}.{hook.install.__name__}",
        "env_vars": {**launch.environment, **_judge_key(launch)},
    }
    # Killed in its first checkpoint, a run has a folder that OpenRLHF would try to go on from.
    first = launch.out / "checkpoints" / "_actor"
    if first.is_dir() and not (first / "latest").exists():
        shutil.rmtree(first)
    ray.init(
        address=address or os.environ.get("RAY_ADDRESS", "local"),
        runtime_env=workers,
        **(ray_options or {}),
    )
    before, board, record = sys.argv, launch.out / "tensorboard", launch.out / "metrics.jsonl"
    try:
        sys.argv = [MODULE, *launch.flags]
        with following(board, record):
            runpy.run_module(MODULE, run_name="__main__")
    finally:
        sys.argv = before
        ray.shutdown()
    rows = read_back(board, record)
    if failed := sum(row["reward_failed"] for row in rows):
        _LOG.warning("%d answers could not be scored and had reward 0: see the logs of Ray", failed)
    return complete_export(launch.out / "model", launch.out / "start")


def _refuse_another(out: Path, known: Mapping[str, Any]) -> None:
    file = out / "launch.json"
    if (out / "checkpoints").is_dir() and not (file.is_file() and read_json(file) == known):
        raise ValueError(f"{out} holds checkpoints of another run: name another folder, or move it away")


def _check_judge(profile: Profile) -> None:
    """Engines on other machines would each ask their own."""
    address = profile.judges.server.base_url
    here = urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
    if profile.judges.name == "server" and profile.cluster.nodes > 1 and here:
        raise ValueError(f"judges.server.base_url is {address}: name the machine, all others ask it, too")


def _judge_hash(profile: Profile, judges: Path) -> str:
    """The content of a trained consistency judge; nothing for one that a server or a rule stands for."""
    model = judges / "strong" / "model"
    return checkpoint_hash(model) if profile.judges.name == "trained" and model.is_dir() else ""


def _judge_key(launch: Launch) -> dict[str, str]:
    """The key of the consistency judge for the workers; it is written nowhere."""
    profile = Profile.model_validate_json(launch.environment[rewards.PROFILE_VARIABLE])
    name = profile.judges.server.key_variable
    return {name: os.environ[name]} if name in os.environ else {}


def _choose(
    pairs: Sequence[PreferencePair], profile: Profile, path: Path
) -> tuple[Sequence[PreferencePair], int]:
    """The pairs of a pass, in whole rollouts, and the number of passes: OpenRLHF makes whole passes only.

    A last rollout that is smaller would leave DeepSpeed's accumulation in the middle of an update.
    """
    size, steps, epochs = profile.rl.rollout_batch_size, profile.rl.max_steps, profile.rl.epochs
    rollouts = len(pairs) // size
    if rollouts == 0:
        raise ValueError(f"{path} holds {len(pairs)} pairs, a rollout takes {size}")
    if steps is None or steps >= rollouts * epochs:
        return pairs[: rollouts * size], epochs
    if steps > rollouts:
        raise ValueError(
            f"rl.max_steps ends in the middle of a pass: take {rollouts} or less, or leave it out"
        )
    return pairs[: steps * size], 1


def _vision_tokens(folder: Path) -> list[int]:
    from transformers import AutoConfig  # noqa: PLC0415

    return vision_token_ids(AutoConfig.from_pretrained(folder, trust_remote_code=False))


def _grouped(flags: Sequence[str]) -> list[str]:
    """Each flag with its values."""
    groups: list[str] = []
    for part in flags:
        if part.startswith("--"):
            groups.append(part)
        else:
            groups[-1] += f" {shlex.quote(part)}"
    return groups


# Our name of a metric and OpenRLHF's. The last ones are logged by `hook` and by `rewards`.
NAMES = {
    "policy_loss": "policy_loss",
    "grad_norm": "actor_grad_norm",
    "learning_rate": "actor_lr",
    "reward": "rollout/reward_mean",
    "response_length": "rollout/response_length_mean",
    "truncated_share": "rollout/truncated_rate",
    "clip_share": "ppo_clip_ratio",
    "seconds": "timing/step_total",
    "rollout_seconds": "timing/generation",
    "update_seconds": "timing/ppo_train",
    "pre_clip_high_positive": "pre_clip_high_positive",
    "pre_clip_high_negative": "pre_clip_high_negative",
    "pre_clip_low_positive": "pre_clip_low_positive",
    "pre_clip_low_negative": "pre_clip_low_negative",
    "filtered_positive": "filtered_positive",
    "filtered_negative": "filtered_negative",
    "reward_result": "reward_result",
    "reward_format": "reward_format",
    "reward_consistency": "reward_consistency",
    "accuracy": "reward_result",
    "answer_one_share": "answer_one",
    "unparsed_share": "unparsed",
}
# How far trainer and engine disagree; only with `cluster.measure_mismatch`.
MISMATCH = "vllm_kl"
_PREFIX = "train/"
POLL_SECONDS = 20.0
_LOG = logging.getLogger(__name__)


def read_back(board: Path, record: Path) -> list[dict[str, float]]:
    """Write `record`, JSON lines a step, from the events below `board`; returns the rows.

    Raises ValueError where a step lacks a metric, as it does when the hook was not active.
    """
    steps = _read_events(board)
    if not steps:
        raise ValueError(f"{board} holds no step of a run: see OpenRLHF's log")
    rows = [_row(step, steps[step], board) for step in sorted(steps)]
    _write(record, rows)
    return rows


@contextmanager
def following(board: Path, record: Path, *, seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Keep `record` up to date, see `write_finished`, while the block trains in the same process.

    A thread looks every so many seconds: OpenRLHF has its loop in a process of its own, and the driver waits.
    """
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(seconds):
            try:
                write_finished(board, record)
            except Exception:
                # A record that cannot be written now must not end days of training.
                _LOG.exception("%s was not brought up to date", record)

    thread = threading.Thread(target=poll, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def write_finished(board: Path, record: Path) -> int:
    """Write the rows of all steps before the first that is not logged whole; returns how many there are."""
    rows: list[dict[str, float]] = []
    steps = _read_events(board)
    for step in sorted(steps):
        try:
            rows.append(_row(step, steps[step], board))
        except ValueError:
            break
    if rows:
        _write(record, rows)
    return len(rows)


def _write(record: Path, rows: Sequence[dict[str, float]]) -> None:
    write_atomic(record, "".join(json.dumps(row) + "\n" for row in rows))


def _row(step: int, found: dict[str, float], board: Path) -> dict[str, float]:
    needed = {*NAMES.values(), "judge_unknown", "judged", "contradicted", "reward_failed"}
    if missing := sorted(needed - set(found)):
        raise ValueError(f"{board}, step {step}: {', '.join(missing)} was not logged")
    samples = found["rollout/num_samples"]
    row = {"step": step, **{ours: found[theirs] for ours, theirs in NAMES.items()}}
    row["judge_unknown"] = round(samples * found["judge_unknown"])
    row["reward_failed"] = round(samples * found["reward_failed"])
    row["contradicted_share"] = found["contradicted"] / found["judged"] if found["judged"] else 0.0
    return row | ({MISMATCH: found[MISMATCH]} if MISMATCH in found else {})


def _read_events(board: Path) -> dict[int, dict[str, float]]:
    """Scalars by step; what a resumed run logged again replaces what the killed one had."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    steps: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for folder in sorted({file.parent for file in board.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag) if tag.startswith(_PREFIX) else ():
                steps[event.step][tag.removeprefix(_PREFIX)] = event.value
    return dict(steps)
