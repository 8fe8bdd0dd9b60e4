"""The mini world: pictures whose truth is known, and a tiny real Qwen2.5-VL that learns to judge them."""

from pathlib import Path


def base_folder() -> Path:
    """Folder of the shipped base checkpoint (safetensors and processor)."""
    return Path(__file__).parent / "base"
