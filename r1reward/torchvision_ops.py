"""Makes `import torchvision` work where torch is a CPU build and torchvision a CUDA build.

Such a pair fails with "operator torchvision::nms does not exist", because the compiled operators
cannot load. Nothing here uses them: declaring their schemas is enough for Qwen's processors and
qwen-vl-utils. Import this module before transformers. It does nothing when torchvision is healthy.
"""

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _declare_missing_operators() -> torch.library.Library | None:
    try:
        import torchvision  # noqa: F401, PLC0415
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        return library
    return None


_LIBRARY = _declare_missing_operators()
