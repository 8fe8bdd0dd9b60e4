"""JupyterLab in a real browser: a notebook runs to its end, and three items are rated in the widget."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from r1reward.pipeline.places import ROOT_VARIABLE, RUNS_VARIABLE, find_places

NOTEBOOK = "08_reasoning_quality.ipynb"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LONGEST = 300.0

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (Debian: apt install chromium)"),
]
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-full does it")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A finished smoke run of what the notebook reads, and a copy of the notebook that asks for smoke."""
    folder = tmp_path_factory.mktemp("lab")
    places = find_places()
    found = {**os.environ, RUNS_VARIABLE: str(folder / "runs"), ROOT_VARIABLE: str(places.root)}
    command = [sys.executable, "-m", "r1reward", "run", "08", "--profile", "smoke"]
    done = subprocess.run(command, env=found, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    text = (places.notebooks / NOTEBOOK).read_text(encoding="utf-8")
    (folder / NOTEBOOK).write_text(text.replace('profile = \\"mini\\"', 'profile = \\"smoke\\"'))
    # All cells stay in the page, also those out of sight.
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    return folder, {**found, "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}


@contextmanager
def jupyter_lab(folder: Path, environment: dict[str, str]):
    """The address of a JupyterLab in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    jupyter = Path(sys.executable).with_name("jupyter")
    command = [jupyter, "lab", "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token="]
    address = f"http://127.0.0.1:{port}"
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(address + "/api", server)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            continue
        return
    raise AssertionError(f"JupyterLab did not start at {address}")


def test_a_notebook_runs_and_three_items_are_rated(environment):
    folder, variables = environment
    pictures = Path(os.environ.get("R1REWARD_SCREENSHOTS") or folder)
    with jupyter_lab(folder, variables) as address, api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(LONGEST * 1000)
        page.goto(f"{address}/lab/tree/{NOTEBOOK}?reset")
        # Cells that run before the kernel has a name make JupyterLab ask for one.
        page.locator(".jp-Toolbar-kernelName", has_text="Python 3").wait_for()
        idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
        idle.wait_for(state="attached")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.get_by_text("Self-corrections in the reasoning.").wait_for()
        idle.wait_for(state="attached")

        progress = page.get_by_text("rated, saved in rater_1.jsonl")
        for number, choice in enumerate(("A is better", "Tie", "B is better"), start=1):
            page.get_by_role("button", name=choice, exact=True).click()
            page.get_by_text(f"{number} of 6 rated").wait_for()
        progress.scroll_into_view_if_needed()
        page.screenshot(path=pictures / "rating.png")
        errors = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
        assert errors.count() == 0
        assert page.locator("text=Traceback").count() == 0
        browser.close()
    saved = folder / "runs" / "ratings" / "smoke" / "rater_1.jsonl"
    assert [json.loads(line)["choice"] for line in saved.read_text().splitlines()] == ["a", "tie", "b"]
