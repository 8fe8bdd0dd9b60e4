"""The cold start on several GPUs: `train.sft` in processes that DeepSpeed shards the model over.

`torchrun` starts the processes, this module is what each of them runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from r1reward.data.cold_start import require_examples
from r1reward.files import read_json, write_json
from r1reward.settings import Profile
from r1reward.train.sft import train_sft

# Where the processes of several machines meet; torchrun's own variables, as `srun` scripts set them.
ADDRESS_VARIABLE, NODE_VARIABLE, PORT = "MASTER_ADDR", "NODE_RANK", 29500


def command(profile: Profile, *, start: str | Path, examples: Path, out: Path, seed: int) -> list[str]:
    """Write `out/launch.json` and return the command that one machine runs.

    On several machines each runs it, with the address of the first in MASTER_ADDR and its own number in
    NODE_RANK. Raises FileNotFoundError and ValueError for examples that nothing can be learnt from.
    """
    require_examples(examples)
    known = {
        "start": str(start),
        "examples": str(examples.resolve()),
        "out": str(out.resolve()),
        "seed": seed,
    }
    file = write_json(out.resolve() / "launch.json", {**known, "profile": profile.model_dump(mode="json")})
    cluster, where = profile.cluster, ["--standalone"]
    if cluster.nodes > 1:
        address, node = (os.environ.get(name, "") for name in (ADDRESS_VARIABLE, NODE_VARIABLE))
        if not (address and node):
            raise ValueError(f"{cluster.nodes} machines: set {ADDRESS_VARIABLE} and {NODE_VARIABLE} on each")
        where = [f"--nnodes={cluster.nodes}", f"--node-rank={node}",
                 f"--master-addr={address}", f"--master-port={PORT}"]  # fmt: skip
    runner = [sys.executable, "-m", "torch.distributed.run", *where]
    return [*runner, f"--nproc-per-node={cluster.gpus_per_node}", "-m", __name__, str(file)]


def launch(words: Sequence[str]) -> None:
    """Run a command of `command`; raises RuntimeError where it fails, or DeepSpeed is not installed."""
    if not find_spec("deepspeed"):
        raise RuntimeError('DeepSpeed is not installed: pip install -e ".[openrlhf]" in the checkout')
    status = subprocess.run(words, check=False).returncode
    if status:
        raise RuntimeError(f"the processes ended with status {status}: see their output above")


def main() -> None:
    """One of the processes; its argument is the file that `command` wrote."""
    known = read_json(sys.argv[1])
    profile = Profile.model_validate(known["profile"])
    train_sft(
        known["start"],
        known["examples"],
        out=known["out"],
        settings=profile.sft,
        model_settings=profile.model,
        max_prompt_tokens=profile.engine.max_prompt_tokens,
        seed=known["seed"],
        cluster=profile.cluster,
    )


if __name__ == "__main__":
    main()
