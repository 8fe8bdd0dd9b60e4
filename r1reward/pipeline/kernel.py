"""Kernels for papermill: this Python, over IPC sockets in a folder of their own.

TCP kernels race for ports when several start at once, and so do IPC kernels for names in the working folder,
which is their place otherwise. A kernel specification of the user may name another Python.
"""

from __future__ import annotations

import os
import sys
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from r1reward.pipeline.notebook import RUNNER_VARIABLE
from r1reward.pipeline.places import ROOT_VARIABLE, RUNS_VARIABLE, Places

# The system bounds paths of sockets: 107 characters, 103 on macOS, less "/socket-5".
LONGEST_FOLDER = 90


class LocalKernelManager(AsyncKernelManager):
    """Starts ipykernel with this interpreter; `environment` is added to that of the process."""

    environment: dict[str, str] = {}  # noqa: RUF012  (replaced as a whole by the subclass of a run)

    def __init__(self, **settings: Any) -> None:
        self._sockets = TemporaryDirectory(prefix="r1reward-kernel-", ignore_cleanup_errors=True)
        super().__init__(**{**settings, **_sockets_in(self._sockets.name)})

    @property
    def kernel_spec(self) -> KernelSpec:
        """ipykernel with this interpreter, whatever kernels are installed."""
        arguments = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=arguments, display_name="Python 3", language="python")

    async def _async_start_kernel(self, **settings: Any) -> None:
        settings["env"] = {**os.environ, **(settings.get("env") or {}), **self.environment}
        await super()._async_start_kernel(**settings)

    start_kernel = _async_start_kernel  # type: ignore[assignment]


def _sockets_in(folder: str) -> dict[str, str]:
    """Where a kernel listens: in a folder of its own, or at ports where that lies too deep."""
    return {"transport": "ipc", "ip": f"{folder}/socket"} if len(folder) <= LONGEST_FOLDER else {}


def kernel_manager_for(places: Places) -> type[LocalKernelManager]:
    """A kernel manager whose kernels find the same folders as this process."""
    added = {
        ROOT_VARIABLE: str(places.root),
        RUNS_VARIABLE: str(places.runs),
        RUNNER_VARIABLE: "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    return type("RunKernelManager", (LocalKernelManager,), {"environment": added})
