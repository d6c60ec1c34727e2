"""The page and what belongs to it: what is sent, and what a browser may do with it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.memory import AppTestCase
from x121.builtin import console
from x121.testing import App, Response

STATIC = Path(console.__file__).parent / "static"
TYPES = {
    "/console": "text/html; charset=utf-8",
    "/console/console.css": "text/css; charset=utf-8",
    "/console/console.js": "text/javascript; charset=utf-8",
}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


class PagesTests(AppTestCase):
    def ask(self, path: str, method: str = "GET", app: App | None = None) -> Response:
        """Return the answer to somebody on this machine."""
        app = app or self.app(DIAGNOSTICS="true")
        return app.request(method, path, {"Host": "localhost"}, peer="127.0.0.1")

    def test_content(self) -> None:
        """Each is the file as it is in the package, with its type."""
        for path, kind in TYPES.items():
            response = self.ask(path)
            name = path.rpartition("/")[2] if "." in path else "console.html"
            self.assertEqual(response.body, (STATIC / name).read_bytes())
            self.assertEqual((response.status, response.headers["content-type"]), (200, kind))

    def test_headers(self) -> None:
        """Each forbids what it doesn't need, and to be kept or guessed at."""
        for path in TYPES:
            headers = self.ask(path).headers
            self.assertEqual(set(headers["content-security-policy"].split("; ")), POLICY)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["cache-control"], "no-store")
            self.assertEqual(headers["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(headers["cross-origin-opener-policy"], "same-origin")

    def test_methods(self) -> None:
        """HEAD is as GET without a body; nothing else is there."""
        for path in TYPES:
            head, whole = self.ask(path, "HEAD"), self.ask(path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(whole.body)))
            self.assertEqual(self.ask(path, "POST").status, 405)

    def test_nothing_else(self) -> None:
        """No other path is a file, whatever stands in it."""
        app = self.app(DIAGNOSTICS="true")
        for path in (
            "/console/",
            "/console/console.html",
            "/console/static/console.js",
            "/console/../console/console.js",
            "/console/%2e%2e/config.py",
            "/console/..%2fpages.py",
            "/console//console.js",
            "/console/console.js%00",
            "/console/pages.py",
        ):
            self.assertIn(self.ask(path, app=app).status, (400, 404), path)

    def test_nothing_inline(self) -> None:
        """The page has no script and no style in it, and asks nobody else for any."""
        page = (STATIC / "console.html").read_text("utf-8")
        self.assertNotIn("<style", page)
        self.assertEqual(re.findall(r"<script(?! type=\"module\" src=)", page), [])
        self.assertEqual(re.findall(r"\s(?:style|on\w+)=", page), [])
        sources = re.findall(r'(?:src|href)="([^"]+)"', page)
        self.assertEqual(sorted(s for s in sources if not s.startswith("data:image/svg+xml,")), [
            "console/console.css",
            "console/console.js",
        ])  # fmt: skip

    def test_texts_are_no_markup(self) -> None:
        """The script has no way to take a text for markup or for code."""
        script = (STATIC / "console.js").read_text("utf-8")
        for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "write(", "eval", "Function("):
            self.assertNotIn(name, script)

    def test_contrast(self) -> None:
        """Every colour that text or a line has stands out from what is behind it, in both schemes.

        By 4.5 to 1: WCAG 2.2, success criterion 1.4.3.
        """
        style = (STATIC / "console.css").read_text("utf-8")
        schemes = [
            dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
            for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
        ]
        for scheme in schemes:
            for text in ("ink", "muted", "first", "second", "alarm", "good"):
                for ground in ("page", "panel"):
                    ratio = contrast(scheme[text], scheme[ground])
                    self.assertGreaterEqual(ratio, 4.5, f"{text} on {ground}: {ratio:.2f}")
            self.assertGreaterEqual(contrast(scheme["ink"], scheme["chip"]), 4.5)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, as WCAG 2.2 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
