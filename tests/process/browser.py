"""Chromium: a page as its visitor sees it, and what the page complains about."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import websockets.sync.client

from tests.process.server import DEADLINE_SECS, HOST, wait_until

__all__ = ["CHROMIUM", "Page", "find_chromium", "opened", "running"]

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Nothing is asked of anybody but the servers of these tests, and nothing is kept.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # it does not work for root, nor in many containers; the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--proxy-server=direct://",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
)
ENDING_SECS = 10.0


def find_chromium() -> str | None:
    """Return the program, if there is one that works."""
    for path in filter(None, map(shutil.which, CHROMIUM)):
        # Some systems have a script there that only says how to install it.
        if not subprocess.run([path, "--version"], capture_output=True).returncode:
            return path
    return None


@contextmanager
def running(
    chromium: str, folder: Path, url: str, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Show ``url`` in a browser that keeps all that it keeps in ``folder``."""
    with (folder / "output").open("wb") as output:
        browser = subprocess.Popen(
            [chromium, *OPTIONS, *options, f"--user-data-dir={folder / 'profile'}", url],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield browser
    finally:
        browser.terminate()
        with suppress(subprocess.TimeoutExpired):
            browser.wait(ENDING_SECS)
        with suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


@contextmanager
def opened(chromium: str, folder: Path) -> Iterator[Page]:
    """Give an empty page, which is closed, with its browser, in the end."""
    port_file = folder / "profile" / "DevToolsActivePort"
    with running(chromium, folder, "about:blank", "--remote-debugging-port=0") as browser:
        wait_until(
            lambda: (
                (port_file.exists() and port_file.read_text().count("\n") == 1)
                or browser.poll() is not None
            ),
            "the browser's port",
        )
        assert browser.poll() is None, (folder / "output").read_text(errors="replace")
        port, path = port_file.read_text().split()
        url = f"ws://{HOST}:{port}{path}"
        with websockets.sync.client.connect(url, max_size=None, proxy=None) as connection:
            yield Page(connection)


class Page:
    """A page, spoken to in the Chrome DevTools Protocol.

    ``complaints`` are what stands in its console: errors, warnings, and what its policy forbade.
    """

    def __init__(self, connection: websockets.sync.client.ClientConnection) -> None:
        self.complaints: list[str] = []
        self._connection = connection
        self._last_id = 0
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def go(self, url: str) -> None:
        """Navigate to ``url``."""
        answer = self._call("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"

    def be(self, width: int, height: int, scheme: str = "light", *, mobile: bool = False) -> None:
        """Have the size, in pixels, and prefer the scheme ``light`` or ``dark``."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[preference])

    def evaluate(self, script: str) -> Any:
        """Return what ``script`` is in the page, which is JSON, or resolves to it."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Return once ``script`` is true in the page."""
        wait_until(lambda: self.evaluate(script), script)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the ``whole`` page, to ``path`` as PNG."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(DEADLINE_SECS))
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._heard(answer.get("method"), answer.get("params", {}))

    def _heard(self, event: str | None, about: dict[str, Any]) -> None:
        if event == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{about['entry']['text']} ({about['entry'].get('url')})")
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(str(about["args"]))
