"""The AsyncAPI document: true, whole, and valid."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.builtin.docs.features import EVIL, make_websockets
from tests.node import install
from x121.builtin.docs.asyncapi import make_asyncapi

jsonschema: Any = pytest.importorskip("jsonschema")

SCRIPT = Path(__file__).parent / "node" / "validate.mjs"
PACKAGE = "@asyncapi/parser@3"
PARSE_SECS = 60.0
ERROR, WARNING = 0, 1


def document(*, with_features: bool = True) -> dict[str, Any]:
    """Return the document, as those who ask for it get it."""
    made = make_asyncapi(
        make_websockets(with_features=with_features), title="Test", version="1.2.3"
    )
    copy: dict[str, Any] = json.loads(json.dumps(made))
    return copy


def references(value: Any) -> Iterator[str]:
    """Yield every ``$ref`` of a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def find(document: Any, reference: str) -> Any:
    """Return what a reference is to."""
    start, *keys = reference.split("/")
    assert start == "#"
    for key in keys:
        document = document[key]
    return document


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = document()
        self.messages = self.document["channels"]["ws"]["messages"]

    def test_references(self) -> None:
        """Every reference is to something."""
        found = list(references(self.document))
        self.assertGreater(len(found), 20)
        for reference in found:
            find(self.document, reference)

    def test_operations(self) -> None:
        """What clients send is received and answered; events are sent; nothing is left out."""
        operations = self.document["operations"]
        actions = {key: one["action"] for key, one in operations.items()}
        self.assertEqual(
            actions,
            {
                "ping": "receive",
                "subscribe": "receive",
                "unsubscribe": "receive",
                "chat.say": "receive",
                "chat_maybe": "receive",
                "chat_maybe_2": "receive",
                "_script_alert_amp_x_script_": "receive",
                "welcome": "send",
                "chat.said": "send",
                "event_script_alert_amp_x_script_": "send",
                "receive._ws_echo": "receive",
                "send._ws_echo": "send",
                "receive._ws_feed": "receive",
                "send._ws_feed": "send",
            },
        )
        replies = [one["reply"]["messages"] for one in operations.values() if "reply" in one]
        self.assertEqual(len(replies), 7)
        for reply, error in replies:
            self.assertEqual(find(self.document, reply["$ref"])["name"], "reply")
            self.assertEqual(error["$ref"], "#/channels/ws/messages/error")

    def test_message(self) -> None:
        """A message is told with its data, its docstring and an example."""
        message = self.messages["chat.say"]
        payload = message["payload"]
        self.assertEqual(payload["properties"]["type"], {"const": "chat.say"})
        self.assertEqual(payload["properties"]["data"], {"$ref": "#/components/schemas/Said"})
        self.assertEqual(payload["required"], ["type", "data"])
        self.assertEqual(message["summary"], "Say something to everybody in a room.")
        self.assertEqual(message["description"], "They hear ``chat.said``.\n\nSee `Said`.")
        example = {"type": "chat.say", "id": 1, "data": {"text": "Some text", "tags": ["loud"]}}
        self.assertEqual(message["examples"], [{"payload": example}])

    def test_optional_data(self) -> None:
        """Data that may be null, or anything, may be left out."""
        for key in ("ping", "chat_maybe"):
            self.assertEqual(self.messages[key]["payload"]["required"], ["type"])

    def test_reply(self) -> None:
        """A reply is told as it is sent."""
        payload = self.messages["chat.say.reply"]["payload"]
        self.assertEqual(payload["required"], ["type", "id", "data"])
        line = {"$ref": "#/components/schemas/Line"}
        self.assertEqual(payload["properties"]["data"]["items"], line)
        self.assertEqual(self.messages["ping.reply"]["examples"][0]["payload"]["data"], "pong")

    def test_event(self) -> None:
        """An event is told with its topic."""
        message = self.messages["chat.said"]
        self.assertEqual(message["x-topic"], "rooms/{room}")
        self.assertEqual(message["payload"]["properties"]["type"], {"const": "chat.said"})
        operation = self.document["operations"]["chat.said"]
        self.assertEqual(operation["summary"], "Somebody said something.")
        self.assertIn("subscribed to `rooms/{room}`", operation["description"])
        self.assertNotIn("x-topic", self.messages["welcome"])

    def test_endpoints(self) -> None:
        """Other endpoints are channels with messages of any kind, told by their docstrings."""
        feed = self.document["channels"]["ws_feed"]
        self.assertEqual((feed["address"], feed["title"]), ("/ws/feed", "Feed"))
        self.assertEqual(feed["summary"], f"Frames as they are, {EVIL}.")
        self.assertEqual(
            feed["description"], "Of any kind.\n\nThe events of `/ws` are sent here, too."
        )
        kinds = [one["contentType"] for one in feed["messages"].values()]
        self.assertEqual(kinds, ["text/plain", "application/octet-stream"])
        echo = self.document["channels"]["ws_echo"]
        self.assertEqual(echo["summary"], "Sends every message back unchanged, and no events.")
        self.assertNotIn("description", echo)

    def test_models(self) -> None:
        """Models are told once, with what their fields are."""
        schemas = self.document["components"]["schemas"]
        known = {"Circle", "Line", "Said", "Square", "Subscription", "Tree", "Welcome"}
        self.assertEqual({name.partition("-")[0] for name in schemas}, known)
        said = schemas["Said"]
        self.assertEqual(said["description"], "What is said in a room.")
        self.assertFalse(said["additionalProperties"])
        self.assertEqual(said["properties"]["text"]["maxLength"], 500)

    def test_no_features(self) -> None:
        """What is built in is told alone, too."""
        made = document(with_features=False)
        self.assertEqual(list(made["operations"]), ["ping", "subscribe", "unsubscribe", "welcome"])

    def test_examples_are_valid(self) -> None:
        """Every message has an example, which its schema describes by the rules of draft 07."""
        count = 0
        for message in self.messages.values():
            schema = {**message["payload"], "components": self.document["components"]}
            for example in message["examples"]:
                jsonschema.Draft7Validator(schema).validate(example["payload"])
                count += 1
        self.assertEqual(count, len(self.messages))
        shown = self.messages["chat_maybe_2"]["examples"][0]["payload"]["data"]
        self.assertEqual(shown["shape"], {"kind": "circle", "radius": 1})


# --- the official parser ------------------------------------------------------------------


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the script that asks the parser."""
    return install(SCRIPT, PACKAGE, tmp_path_factory.mktemp("parser"))


@pytest.mark.parametrize("with_features", [True, False])
def test_valid(script: Path, with_features: bool) -> None:
    """The official parser has nothing to say against the document, and reads all of it."""
    made = document(with_features=with_features)
    said = _parse(script, made)
    assert [one for one in said["diagnostics"] if one["severity"] <= WARNING] == []
    assert dict(said["operations"]) == {k: o["action"] for k, o in made["operations"].items()}


def test_invalid(script: Path) -> None:
    """The parser finds faults where there are any."""
    made = document()
    made["channels"]["ws"]["messages"]["ping"]["payload"]["type"] = "nonsense"
    del made["channels"]["ws"]["messages"]["chat.said"]
    said = _parse(script, made)["diagnostics"]
    messages = [one["message"] for one in said if one["severity"] == ERROR]
    assert any("type" in message for message in messages), messages
    assert any("chat.said" in message for message in messages), messages


def _parse(script: Path, made: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        ["node", str(script)],
        input=json.dumps(made),
        capture_output=True,
        text=True,
        timeout=PARSE_SECS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said: dict[str, Any] = json.loads(done.stdout)
    return said
