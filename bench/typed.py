"""``python -m bench typed``: what it costs to have inputs and results checked.

A typed endpoint beside a plain Klein handler that answers the same, both with the whole stack
around them, in memory: there is no network in it, whose noise would hide the difference.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import orjson
from pydantic import Field

from bench.machine import choose_cores, describe, package_versions
from bench.rounds import medians_in_turns
from bench.table import table, verdict
from x121.core.models import Id, Model, Text
from x121.http.fast import FastChannel
from x121.http.request import Request
from x121.testing import App, Connection
from x121.web.responses import json_response
from x121.web.router import Router

__all__ = ["add_options", "run"]

GOAL_SECS = 25e-6
"""What a typed endpoint may cost more than a plain one."""

_BODY = b'{"sku":"A-0001","name":"a thing","count":7,"price":8.75}'


class _Item(Model):
    sku: Annotated[Text, Field(min_length=1, max_length=20)]
    name: Annotated[Text, Field(max_length=200)]
    count: Annotated[int, Field(ge=0)]
    price: float


class _Items:
    """The same endpoint twice."""

    router = Router()

    @router.post("/typed/<int:item_id>")
    async def typed(self, item_id: Id, item: _Item) -> _Item:
        """Response with what was sent."""
        return item

    @router.route("/plain/<int:item_id>", methods=["POST"])
    async def plain(self, request: Request, item_id: int) -> bytes:
        """Response with what was sent, of which nothing is checked."""
        item: dict[str, Any] = orjson.loads(request.content.read())
        return json_response(request, item)


@dataclass(frozen=True)
class _Cost:
    """What one request costs, in seconds of CPU."""

    seconds: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=15, help="rounds to measure (15)")
    parser.add_argument("--requests", type=int, default=2000, help="requests in each (2000)")


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Measure and print."""
    if options.rounds < 1 or options.requests < 1:
        parser.error("every number is at least 1")
    versions = [package_versions(["twisted", "pydantic", "pydantic_core"])]
    print("\n".join(describe(choose_cores(), "nothing", versions)), end="\n\n")
    with App(_Items().router, make_channel=FastChannel) as app:
        ways = {way: _requests(app, way, options.requests) for way in ("plain", "typed")}
        for warm_up in ways.values():
            warm_up()
        medians = medians_in_turns(ways, options.rounds)
    plain, typed = medians["plain"].seconds, medians["typed"].seconds
    more = typed - plain
    print(
        table(
            [
                [
                    f"POST {len(_BODY)} bytes of JSON",
                    "CPU us",
                    f"goal: at most {GOAL_SECS * 1e6:g}",
                ],
                ["plain handler", f"{plain * 1e6:.1f}", ""],
                ["typed endpoint", f"{typed * 1e6:.1f}", ""],
                ["typed - plain", f"{more * 1e6:.1f}", verdict(more <= GOAL_SECS)],
            ]
        )
    )


def _requests(app: App, way: str, count: int) -> Callable[[], _Cost]:
    connection = app.connect()
    head = f"POST /test/{way}/7 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY
    connection.send(request)
    assert connection.received.endswith(_BODY), connection.received
    return partial(_measure, app, connection, request, count)


def _measure(app: App, connection: Connection, request: bytes, count: int) -> _Cost:
    begun = time.process_time()
    for _ in range(count):
        connection.send(request)
        connection.transport.clear()
    seconds = (time.process_time() - begun) / count
    app.log.clear()
    return _Cost(seconds)
