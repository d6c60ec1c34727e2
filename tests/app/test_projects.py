"""Projects, over HTTP and WebSockets, on a real database."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from x121.testing import App, Response

URL = "/api/v1/projects"


def create(app: App, name: str = "first", **fields: str) -> Deferred[Response]:
    return app.fetch("POST", URL, json={"name": name, **fields})


def change(app: App, path: str, tag: str | None = None, **fields: str) -> Deferred[Response]:
    headers = {} if tag is None else {"If-Match": tag}
    return app.fetch("PATCH", path, headers, json=fields)


def assert_refused(answer: Response, path: str) -> None:
    """Fail unless the answer says that the field ``path`` is wrong, and no other."""
    assert (answer.status, answer.json["code"]) == (400, "BAD_REQUEST")
    assert [one["path"] for one in answer.json["details"]] == [path]


# --- one ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_create(app: App) -> None:
    """A project is created, with its path, and shown as it is there."""
    created = await create(app, "Grüße", description="two\nlines")
    assert created.status == 201
    shown = await app.fetch("GET", created.headers["location"])
    assert (shown.status, shown.json) == (200, created.json)
    assert shown.headers["etag"] == created.headers["etag"]
    project = shown.json
    assert list(project) == ["id", "name", "description", "created_at", "updated_at"]
    assert (project["name"], project["description"]) == ("Grüße", "two\nlines")
    assert project["created_at"] == project["updated_at"]
    assert project["created_at"].endswith("Z")


@pytest_twisted.ensureDeferred
async def test_same_name_at_once(app: App) -> None:
    """Of several projects of one name that come at once one is created, the others conflict."""
    creating = [create(app) for _ in range(5)]
    answers = [await answer for answer in creating]
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]
    errors = [answer.json for answer in answers if answer.status == 409]
    text = "Duplicate entry violates unique constraint: uq_projects_name"
    assert errors == [{"error": text, "code": "CONFLICT"}] * 4


@pytest_twisted.ensureDeferred
async def test_names(app: App) -> None:
    """A name has 1 to 200 characters of any kind but NUL."""
    assert (await create(app, "😀" * 200)).status == 201
    for name in ("😀" * 201, "", "a\0b"):
        assert_refused(await create(app, name), "name")
    assert (await create(app, "' OR 1 = 1; -- %s")).json["name"] == "' OR 1 = 1; -- %s"


@pytest_twisted.ensureDeferred
async def test_change(app: App) -> None:
    """A change has the fields that are sent; the others stay as they are."""
    before = await create(app, description="old")
    path = before.headers["location"]
    after = await change(app, path, description="new")
    assert after.status == 200
    assert after.json == {
        **before.json,
        "description": "new",
        "updated_at": after.json["updated_at"],
    }
    assert after.json["updated_at"] > before.json["updated_at"]
    shown = await app.fetch("GET", path)
    assert (shown.json, shown.headers["etag"]) == (after.json, after.headers["etag"])
    assert (await change(app, path)).json == after.json  # nothing was sent
    for wrong in ({"name": None}, {"name": ""}, {"id": 7}):
        answer = await app.fetch("PATCH", path, json=wrong)
        assert_refused(answer, next(iter(wrong)))
    await create(app, "taken")
    assert (await change(app, path, name="taken")).status == 409


@pytest_twisted.ensureDeferred
async def test_delete(app: App) -> None:
    """A project that is deleted is gone."""
    path = (await create(app)).headers["location"]
    assert (await app.fetch("DELETE", path)).status == 204
    for answer in (
        await app.fetch("GET", path),
        await app.fetch("DELETE", path),
        await change(app, path, name="x"),
    ):
        assert answer.status == 404
        assert answer.json == {"error": "Resource not found", "code": "NOT_FOUND"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_somebody_was_faster(app: App, method: str) -> None:
    """Who saw an older version changes nothing; who saw this one, or doesn't care, does."""
    created = await create(app)
    path, old = created.headers["location"], created.headers["etag"]
    body: dict[str, Any] = {"json": {"description": "mine"}} if method == "PATCH" else {}
    new = (await change(app, path, old, description="theirs")).headers["etag"]
    for conditions in (
        {"If-Match": old},
        {"If-Match": '"made-up"'},
        {"If-None-Match": "*"},
        {"If-None-Match": new},
        {"If-Match": new, "If-None-Match": f"W/{new}"},
    ):
        answer = await app.fetch(method, path, conditions, **body)
        assert (answer.status, answer.json["code"]) == (412, "PRECONDITION_FAILED")
        assert (await app.fetch("GET", path)).headers["etag"] == new
    malformed = await app.fetch(method, path, {"If-None-Match": "x"}, **body)
    assert malformed.json["details"][0]["path"] == "If-None-Match"
    answer = await app.fetch(method, path, {"If-Match": f'"other", W/{new}'}, **body)
    assert answer.status == (200 if method == "PATCH" else 204)


@pytest_twisted.ensureDeferred
async def test_one_of_two_is_faster(app: App) -> None:
    """Of two changes of one version that come at once, one is made."""
    created = await create(app)
    path, tag = created.headers["location"], created.headers["etag"]
    changing = [change(app, path, tag, description=text) for text in ("mine", "yours")]
    answers = [await answer for answer in changing]
    assert sorted(answer.status for answer in answers) == [200, 412]


@pytest_twisted.ensureDeferred
async def test_ids(app: App) -> None:
    """An id that no project has, or that none can have, is 404 or 400."""
    for number, status in (
        (2**63 - 1, 404), (2**63, 404), (10**30, 404), (0, 400), (-1, 404), ("x", 404),
        ("1%00", 400),
    ):  # fmt: skip
        assert (await app.fetch("GET", f"{URL}/{number}")).status == status, number


# --- many ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_pages(app: App) -> None:
    """The pages have every project once, oldest first, whatever comes and goes meanwhile."""
    made = [(await create(app, f"number {number}")).json for number in range(5)]
    first = await app.fetch("GET", f"{URL}?limit=2")
    assert first.json["items"] == made[:2]
    await app.fetch("DELETE", f"{URL}/{made[0]['id']}")
    second = await app.fetch("GET", f"{URL}?limit=2&cursor={first.json['next_cursor']}")
    assert second.json["items"] == made[2:4]
    third = await app.fetch("GET", f"{URL}?limit=2&cursor={second.json['next_cursor']}")
    assert third.json == {"items": made[4:], "next_cursor": None}


@pytest_twisted.ensureDeferred
async def test_name_prefix(app: App) -> None:
    """A list may be of those alone whose names begin with something, as it is."""
    for name in ("a%1", "a%2", "a_", "A%", "b"):
        await create(app, name)

    async def names(prefix: str) -> list[str]:
        answer = await app.fetch("GET", f"{URL}?name_prefix={prefix}&limit=100")
        return [one["name"] for one in answer.json["items"]]

    assert await names("a%25") == ["a%1", "a%2"]
    assert await names("a_") == ["a_"]
    assert await names("") == ["a%1", "a%2", "a_", "A%", "b"]
    assert await names("%F0%9F%98%80") == []


@pytest_twisted.ensureDeferred
async def test_wrong_lists(app: App) -> None:
    """A limit out of bounds, and a cursor that somebody made up, are told."""
    for query in ("limit=0", "limit=101", "limit=x", "cursor=", "cursor=AAAAAAAAAAAAAAAA",
                  "cursor=%00", "name_prefix=%00"):  # fmt: skip
        assert_refused(await app.fetch("GET", f"{URL}?{query}"), query.partition("=")[0])


# --- what others hear of it ---------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_events(app: App) -> None:
    """Those who follow the projects hear of each change, with what it is about."""
    follower, other = app.websocket(), app.websocket()
    await follower.send_request("subscribe", {"topic": "projects"})
    created = (await create(app)).json
    changed = (await change(app, f"{URL}/{created['id']}", name="second")).json
    await app.fetch("DELETE", f"{URL}/{created['id']}")
    assert follower.messages() == [
        {"type": "project.created", "data": created},
        {"type": "project.updated", "data": changed},
        {"type": "project.deleted", "data": changed},
    ]
    assert other.messages() == []
    await follower.send_request("unsubscribe", {"topic": "projects"})
    await create(app)
    assert follower.messages() == []


@pytest_twisted.ensureDeferred
async def test_no_event_of_what_did_not_happen(app: App) -> None:
    """Nobody hears of a change that was refused, failed, or changed nothing."""
    path = (await create(app)).headers["location"]
    follower = app.websocket()
    await follower.send_request("subscribe", {"topic": "projects"})
    await create(app)
    await change(app, path)
    await change(app, path, '"other"', name="second")
    await app.fetch("DELETE", path, {"If-Match": '"other"'})
    await app.fetch("DELETE", f"{URL}/7")
    assert follower.messages() == []


@pytest_twisted.ensureDeferred
async def test_event_of_who_has_left(app: App) -> None:
    """What was committed is told, also if whoever asked for it left before the answer."""
    follower = app.websocket()
    await follower.send_request("subscribe", {"topic": "projects"})
    for number in range(20):
        connection = app.connect()
        connection.send_request("POST", URL, json={"name": f"number {number}"})
        for _ in range(number):
            await app.fetch("GET", "/health/ready")
        connection.disconnect()
    await app.until(lambda: app.state.pool.stats().in_use == 0, "the database is still at work")
    there = (await app.fetch("GET", f"{URL}?limit=100")).json["items"]
    told = [message["data"] for message in follower.messages()]
    assert sorted(told, key=lambda project: project["id"]) == there
