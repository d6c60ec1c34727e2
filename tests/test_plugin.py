"""A product's plugin for twistd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from x121.plugin import service_maker


def test_interfaces() -> None:
    """It is what twistd looks for."""
    plugin = service_maker("studio", "studio:application", "Studio")
    verifyObject(IServiceMaker, plugin)
    verifyObject(IPlugin, plugin)
    assert (plugin.tapname, plugin.description) == ("studio", "Studio")


def test_imports_little() -> None:
    """Who lists the plugins imports neither a reactor nor the server."""
    code = (
        "import sys; from x121.plugin import service_maker; service_maker('a', 'b:c', 'd');"
        "print([m for m in ('twisted.internet.reactor', 'x121.tap', 'klein') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("environ", [{}, {"X121_APP": "x121.app:application"}])
def test_application(tmp_path: Path, environ: dict[str, str]) -> None:
    """It serves its own application, whatever ``X121_APP`` says."""
    (tmp_path / "studio.py").write_text(
        "from x121 import Application\napplication = Application('studio')\n"
    )
    code = (
        "from x121.plugin import service_maker;"
        "options = service_maker('studio', 'studio:application', 'Studio').options();"
        "options.parseOptions([]); print(options['application'].name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("studio\n", "")
