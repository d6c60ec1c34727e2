"""Documentation of the HTTP endpoints: ``/openapi.json``, and ``/docs``, a page to try them out.

The page is Swagger UI, whose files come from the package offapi: it loads nothing from other hosts.
"""

from __future__ import annotations

from functools import cache, cached_property
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from string import Template
from threading import Lock
from typing import NamedTuple

from twisted.internet.threads import deferToThread

from x121.builtin.docs.serving import STATIC, serve_document
from x121.core import json_encoding
from x121.errors import NotFound
from x121.http.policy import set_page_headers
from x121.http.request import Request
from x121.web.router import Router

__all__ = ["EndpointDocs"]


class EndpointDocs:
    """Serves ``/openapi.json`` for programs, and ``/docs`` for people.

    Both document the routes that ``documented`` has at the first request.
    """

    document = Router()
    page = Router()

    def __init__(self, documented: Router, title: str, version: str) -> None:
        self._documented = documented
        self._title, self._version = title, version
        self._assets = _find_assets()
        template = Template((STATIC / "docs.html").read_text("utf-8"))
        self._page = template.substitute(assets=f"docs/{self._assets.version}").encode()

    def serve(self, router: Router) -> Router:
        """Nest both into ``router``, and return ``router``."""
        return router.nest("/openapi.json", self.document).nest("/docs", self.page)

    @cached_property
    def _document(self) -> bytes:
        # At the first request, because then every feature is nested.  It costs a tenth of a
        # millisecond per endpoint, once.  Few servers have one, so the import waits, too.
        from x121.builtin.docs.openapi import make_openapi

        openapi = make_openapi(self._documented, title=self._title, version=self._version)
        return json_encoding.encode(openapi)

    @document.route("/", is_documented=False)
    def show_document(self, request: Request) -> bytes:
        """Send the OpenAPI document."""
        return serve_document(request, ".json", self._document)

    @page.route("/", is_documented=False)
    def show_page(self, request: Request) -> bytes:
        """Send the page."""
        return serve_document(request, ".html", self._page)

    @page.route("/<assets_version>/<name>", is_documented=False)
    async def send_asset(self, request: Request, assets_version: str, name: str) -> bytes:
        """Send a script or a style sheet; the file at a path never changes."""
        asset = self._assets.by_name.get(name)
        if asset is None or assets_version != self._assets.version:
            raise NotFound("No resource at this path")
        request.setHeader(b"Cache-Control", b"public, max-age=31536000, immutable")
        set_page_headers(request, asset.path.suffix)
        if request.method == b"HEAD":
            request.setHeader(b"Content-Length", b"%d" % asset.size)
            return b""
        return asset.content or await deferToThread(asset.read)


# --- files --------------------------------------------------------------------------------


class _Asset:
    """A file that is read once, at the first request; all requests share its ``content``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.content = b""
        self._lock = Lock()

    def read(self) -> bytes:
        """Return the content.  Several threads may call this at once."""
        with self._lock:
            if not self.content:
                self.content = self.path.read_bytes()
        return self.content


class _Assets(NamedTuple):
    """Files, by the names in their URLs; ``version`` changes with any of them."""

    by_name: dict[str, _Asset]
    version: str


@cache
def _find_assets() -> _Assets:
    # Importing offapi would read nine megabytes.
    spec = find_spec("offapi")
    assert spec is not None
    (folder,) = map(Path, spec.submodule_search_locations or [])
    paths = {
        "swagger-ui.css": folder / "swagger_style.css",
        "swagger-ui.js": folder / "swagger_bundle.js",
        "docs.css": STATIC / "docs.css",
        "docs.js": STATIC / "docs.js",
    }
    ours = b"".join(path.read_bytes() for path in paths.values() if path.parent == STATIC)
    digest = blake2b(version("offapi").encode() + ours, digest_size=8)
    return _Assets({name: _Asset(path) for name, path in paths.items()}, digest.hexdigest())
