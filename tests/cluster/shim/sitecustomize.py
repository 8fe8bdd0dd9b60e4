"""What OpenRLHF, DeepSpeed and vLLM take for granted about CUDA, bridged for a machine without it.

Every Python process of the test cluster loads this file (it lies on PYTHONPATH). A module is changed once it
has been imported; `docs/cluster.md` lists each change. Nothing of this is in the package.
"""

import importlib.abc
import json
import os
import sys

LOG = os.environ.get("R1REWARD_SHIM_LOG", "")


def note(name, **values):
    """A line in a file of this process, for the test to read."""
    if LOG:
        with open(os.path.join(LOG, f"{name}_{os.getpid()}.jsonl"), "a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")


def torch_cuda(torch):
    """OpenRLHF and DeepSpeed ask for the current CUDA device without looking whether there is one."""

    class Device(str):
        """`.to(device)` takes it for the CPU, and f"cuda:{device}" still has a number."""

        def __format__(self, _):
            return "0"

    if torch.cuda.is_available():
        return
    torch.cuda.current_device = lambda: Device("cpu")
    # One function for each: torch refuses the same object under two names.
    torch.cuda.set_device = lambda device: None
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.current_stream = lambda device=None: None


def torchvision_operators(module):
    """A torchvision built for CUDA has no operators beside a CPU torch; importing transformers needs two."""
    import torch

    if not module._has_ops():
        module.r1reward_library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            module.r1reward_library.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )


def sync_group(module):
    """Weights go to vLLM by gloo. Without: nothing is sent, in silence, and vLLM generates from garbage."""

    class Group:
        def __init__(self, group, rank):
            self._group, self._rank = group, rank

        def broadcast(self, tensor, src, stream=None):
            self._group.broadcast(tensor, src).wait()
            side = "sent" if self._rank == src else "received"
            note(side, sum=float(tensor.double().abs().sum()), shape=list(tensor.shape))

    def stateless_init_process_group(address, port, rank, size, device):
        from vllm.distributed.utils import stateless_init_torch_distributed_process_group

        return Group(stateless_init_torch_distributed_process_group(address, port, rank, size, "gloo"), rank)

    module.stateless_init_process_group = stateless_init_process_group


def worker_wrap(module):
    """vLLM's worker makes room for a weight on "cuda". Without: it fails, and the actor waits for ever."""
    import torch
    from torch.overrides import TorchFunctionMode

    class OnCPU(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if str(kwargs.get("device", "")).startswith("cuda"):
                kwargs["device"] = "cpu"
            return function(*args, **kwargs)

    original = module.WorkerWrap.update_weight

    def update_weight(self, *args, **kwargs):
        with OnCPU(), torch.no_grad():
            return original(self, *args, **kwargs)

    module.WorkerWrap.update_weight = update_weight


def zero3_gather(module):
    """DeepSpeed waits for the last of several gathers only: enough on a CUDA stream, not for gloo.

    Without: weights that are loaded under ZeRO-3 by two processes are garbage now and then.
    """
    init = module.Init
    init._allgather_params_coalesced = lambda self, params, *_, **__: self._allgather_params_sequential(
        params
    )


def vllm_linear(module):
    """vLLM's CPU build packs weights into a copy of its own. Without: they cannot be replaced."""
    import torch

    def dispatch_cpu_unquantized_gemm(layer, remove_weight=False):
        layer.cpu_linear = lambda x, weight, bias: torch.nn.functional.linear(x, weight, bias)

    module.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm


def loopback(module):
    """Keeps the weight sync on this machine."""
    module.get_node_ip_address = lambda *_, **__: "127.0.0.1"


def watch_pictures(module):
    """Not a bridge: the test wants to know that pictures reach the forwards of old and new policy."""
    import torch

    original, seen = module.Actor.forward, set()

    def forward(self, *args, **kwargs):
        output = original(self, *args, **kwargs)
        kind = "new" if torch.is_grad_enabled() else "old"
        if kwargs.get("pixel_values") is not None and kind not in seen:
            seen.add(kind)
            blank = {**kwargs, "pixel_values": torch.zeros_like(kwargs["pixel_values"])}
            with torch.no_grad():
                other = original(self, *args, **blank)
            first, second = (value[0] if isinstance(value, tuple) else value for value in (output, other))
            note("pictures", kind=kind, difference=float((first - second).abs().max()))
        return output

    module.Actor.forward = forward


CHANGES = {
    "torch": torch_cuda,
    "torchvision.extension": torchvision_operators,
    "openrlhf.utils.distributed_util": sync_group,
    "openrlhf.trainer.ray.vllm_worker_wrap": worker_wrap,
    "deepspeed.runtime.zero.partition_parameters": zero3_gather,
    "vllm.model_executor.layers.utils": vllm_linear,
    "ray._private.services": loopback,
    "openrlhf.models.actor": watch_pictures,
}


class Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        CHANGES[module.__name__](module)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in CHANGES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec and spec.loader:
                spec.loader = Loader(spec.loader)
                return spec
        return None


sys.meta_path.insert(0, Finder())
