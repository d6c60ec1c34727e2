"""HTML page of an AsyncAPI document, without scripts, and with one style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from twisted.web.template import Tag, flattenString, tags

from x121.builtin.docs.elements import Content, example, line, prose
from x121.builtin.docs.fields import Field, Part, fields_of, rules_of, words_of
from x121.builtin.docs.schemas import Schema

__all__ = ["make_page"]

Document = dict[str, Any]


async def make_page(document: Document, *, style: str, source: str, endpoints: str) -> bytes:
    """Return the page of ``document``, one of :func:`x121.builtin.docs.asyncapi.make_asyncapi`.

    ``style``, ``source`` and ``endpoints`` are the URLs of the style sheet, of the document, and of
    the documentation of HTTP endpoints.
    """
    page = _Page(document)
    title = f"{document['info']['title']} \u00b7 Messages"
    whole = tags.html(
        tags.head(
            tags.meta(charset="utf-8"),
            tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
            tags.meta(name="color-scheme", content="light dark"),
            tags.title(title),
            tags.link(rel="stylesheet", href=style),
            tags.link(rel="icon", href="data:,"),  # browsers would request one
        ),
        tags.body(
            tags.a("Skip to the messages", href="#messages", class_="skip"),
            tags.header(*page.heading(source, endpoints)),
            tags.div(
                tags.nav(*page.contents(), **{"aria-label": "Contents"}),
                Tag("main")(*page.sections()),
                class_="columns",
            ),
        ),
        lang="en",
    )
    html: bytes = await flattenString(None, whole)
    return b"<!DOCTYPE html>\n" + html


class _Page:
    """Generates the parts of a page."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._schemas: dict[str, Schema] = document.get("components", {}).get("schemas", {})
        operations = document["operations"]
        self._messages = {
            key: operation for key, operation in operations.items() if "reply" in operation
        }
        self._events = {
            key: operation
            for key, operation in operations.items()
            if operation["action"] == "send" and "title" in operation
        }
        with_messages = {operation["channel"]["$ref"] for operation in self._messages.values()}
        self._endpoints = {
            key: channel
            for key, channel in document["channels"].items()
            if f"#/channels/{key}" not in with_messages
        }

    # --- the frame ---

    def heading(self, source: str, endpoints: str) -> Iterator[Content]:
        """Yield the page's heading."""
        info = self._document["info"]
        yield tags.h1(info["title"], " ", tags.span("Messages", class_="what"))
        yield tags.p(
            tags.span(f"version {info['version']}", class_="chip"),
            " ",
            tags.a("AsyncAPI 3.0 document", href=source, class_="chip"),
            " ",
            tags.a("HTTP endpoints", href=endpoints, class_="chip"),
        )
        yield tags.div(*prose(info["description"]), class_="about")

    def contents(self) -> Iterator[Content]:
        """Yield the table of contents."""
        messages = {f"message-{key}": message["title"] for key, message in self._messages.items()}
        for title, entries in (
            ("Messages", {**messages, "error": "error"}),
            ("Events", {f"event-{key}": event["title"] for key, event in self._events.items()}),
            ("Types", {f"type-{name}": name for name in self._schemas}),
            (
                "Other endpoints",
                {f"endpoint-{k}": c["address"] for k, c in self._endpoints.items()},
            ),
        ):
            if entries:
                links = (tags.li(tags.a(text, href=f"#{key}")) for key, text in entries.items())
                yield tags.h2(title)
                yield tags.ul(*links)

    def sections(self) -> Iterator[Content]:
        """Yield the sections of the page."""
        messages = [self._message(key, message) for key, message in self._messages.items()]
        yield _section("messages", "Messages", "Sent by clients, each with its reply.", messages)
        yield self._error()
        events = [self._event(key, event) for key, event in self._events.items()]
        yield _section("events", "Events", "Sent by the server at any time.", events)
        if self._schemas:
            types = [self._type(name, schema) for name, schema in self._schemas.items()]
            yield _section("types", "Types", "The types of data in messages and events.", types)
        if self._endpoints:
            others = [self._endpoint(key, channel) for key, channel in self._endpoints.items()]
            about = "WebSockets that don't use these messages."
            yield _section("endpoints", "Other endpoints", about, others)

    # --- articles ---

    def _message(self, key: str, operation: Document) -> Tag:
        request = self._find(operation["messages"][0])
        reply = self._find(operation["reply"]["messages"][0])
        return tags.article(
            tags.h3(operation["title"]),
            *_doc_text(operation),
            *self._data("Data", request),
            *self._data("Reply", reply),
            tags.div(*_examples("Send", request), *_examples("Receive", reply), class_="examples"),
            id=f"message-{key}",
            class_="card message",
        )

    def _event(self, key: str, operation: Document) -> Tag:
        event = self._find(operation["messages"][0])
        topic = operation.get("x-topic")
        chip = tags.span("topic ", tags.code(topic), class_="chip") if topic else ""
        return tags.article(
            tags.h3(operation["title"], " ", chip),
            *_doc_text(event),
            *self._data("Data", event),
            tags.div(*_examples("Receive", event), class_="examples"),
            id=f"event-{key}",
            class_="card event",
        )

    def _error(self) -> Tag:
        operation = next(iter(self._messages.values()))
        error = self._find(operation["reply"]["messages"][1])
        return tags.article(
            tags.h3("error"),
            *_doc_text(error),
            self._table(list(fields_of(error["payload"], self._schemas))),
            tags.div(*_examples("Receive", error), class_="examples"),
            id="error",
            class_="card error",
        )

    def _type(self, name: str, schema: Schema) -> Tag:
        fields = list(fields_of(schema, self._schemas))
        about = self._table(fields) if fields else tags.p(*self._words(words_of(schema)))
        return tags.article(
            tags.h3(name),
            *prose(schema.get("description", "")),
            about,
            id=f"type-{name}",
            class_="card",
        )

    def _endpoint(self, key: str, channel: Document) -> Tag:
        return tags.article(
            tags.h3(channel["address"], " ", tags.span(channel["title"], class_="chip")),
            *_doc_text(channel),
            id=f"endpoint-{key}",
            class_="card",
        )

    def _data(self, title: str, message: Document) -> Iterator[Content]:
        """Yield the type of a message's data, in words, and its fields."""
        payload = message["payload"]
        data = payload["properties"]["data"]
        rules = [*rules_of(data)]
        if "data" not in payload["required"]:
            rules.append("optional")
        heading = tags.h4(title, " ", tags.span(*self._words(words_of(data)), class_="type"))
        yield heading(" ", *_rules(rules))
        fields = list(fields_of(data, self._schemas))
        if fields:
            yield self._table(fields)

    def _table(self, fields: list[Field]) -> Tag:
        head = tags.tr(*(tags.th(name, scope="col") for name in ("Field", "Type", "About")))
        return tags.table(tags.thead(head), tags.tbody(*map(self._row, fields)))

    def _row(self, field: Field) -> Tag:
        about: list[Content] = [*line(field.description)]
        about += [" ", *_rules(field.rules)]
        mark = "" if field.is_required else tags.span(" optional", class_="rule")
        return tags.tr(
            tags.td(tags.code(field.path), mark),
            tags.td(*self._words(field.type), class_="type"),
            tags.td(*about),
        )

    def _words(self, parts: Iterable[Part]) -> Iterator[Content]:
        for part in parts:
            is_known = part.is_name and part.text in self._schemas
            yield tags.a(part.text, href=f"#type-{part.text}") if is_known else part.text

    def _find(self, reference: Schema) -> Any:
        """Return the target of a reference into the document; its keys need no escapes."""
        target: Any = self._document
        for key in reference["$ref"].split("/")[1:]:
            target = target[key]
        return target


# --- parts --------------------------------------------------------------------------------


def _section(anchor: str, title: str, about: str, articles: list[Tag]) -> Tag:
    return tags.section(tags.h2(title), tags.p(about, class_="lead"), *articles, id=anchor)


def _doc_text(documented: Document) -> Iterator[Content]:
    """Yield summary and description."""
    if "summary" in documented:
        yield tags.p(*line(documented["summary"]), class_="summary")
    yield from prose(documented.get("description", ""))


def _rules(rules: Iterable[str]) -> Iterator[Tag]:
    text = ", ".join(rules)
    if text:
        yield tags.span(*line(text), class_="rule")


def _examples(title: str, message: Document) -> Iterator[Tag]:
    return (example(title, shown["payload"]) for shown in message.get("examples", ()))
