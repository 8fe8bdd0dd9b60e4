"""Loaded by every Python of a real server under test: makes a CUDA torchvision work beside a CPU torch.

Beside `r1reward.torchvision_ops` it stands in for `torchvision.io.decode_image`, with which transformers
opens pictures. It does nothing where torchvision is healthy.
"""

import importlib.util
import io

if importlib.util.find_spec("torch"):
    import r1reward.torchvision_ops  # noqa: F401

    # isort: split

    import torch
    import torchvision.io

    if not hasattr(torch.ops.image, "decode_jpeg"):
        import numpy as np
        from PIL import Image

        def decode_image(source: object, *_: object, **__: object) -> torch.Tensor:
            """A picture, from a uint8 tensor of its file or from a path, as (3, H, W)."""
            data = io.BytesIO(source.numpy().tobytes()) if isinstance(source, torch.Tensor) else source
            return torch.from_numpy(np.array(Image.open(data).convert("RGB"))).permute(2, 0, 1)  # type: ignore[arg-type]

        torchvision.io.decode_image = decode_image
