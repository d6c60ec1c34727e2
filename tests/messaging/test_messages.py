"""The tables of handlers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from x121.messaging.handlers import Handlers, Message


class Chat:
    messages = Handlers()

    def __init__(self, name: str) -> None:
        self.name = name

    @messages.on("chat.who")
    def who(self, message: Message) -> str:
        return self.name


class HandlersTests(SynchronousTestCase):
    def test_methods(self) -> None:
        """Of an instance, they are its methods."""
        message: Any = None
        for name in ("one", "two"):
            (handler,) = Chat(name).messages
            self.assertEqual((handler.type, handler.call(message)), ("chat.who", name))

    def test_of_the_class(self) -> None:
        """Those of a class have no instance to answer with, which is said at once."""
        error = self.assertRaises(TypeError, list, Chat.messages)
        self.assertIn("Chat(state)", str(error))

    def test_functions(self) -> None:
        """They may be plain functions, too."""
        handlers = Handlers()

        @handlers.on("x")
        def answer(message: Message) -> int:
            return 1

        message: Any = None
        self.assertEqual([handler.call(message) for handler in handlers], [1])

    def test_twice(self) -> None:
        """A type has one handler."""
        handlers = Handlers()
        handlers.on("x")(print)
        self.assertRaises(ValueError, handlers.on, "x")
