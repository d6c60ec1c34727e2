"""Topics, as they are declared and as clients name them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from x121.ws.topics import Topic, Topics


class TopicTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """One without a parameter stands for itself alone."""
        topic = Topic("projects/all")
        self.assertTrue(topic.matches("projects/all"))
        for other in ("projects", "projects/", "projects/all/", "/projects/all", "Projects/all"):
            self.assertFalse(topic.matches(other), other)
        self.assertEqual((topic.fill({}), topic.parameters), ("projects/all", ()))

    def test_parameter(self) -> None:
        """A parameter stands for any text between its slashes, but for none."""
        topic = Topic("projects/{project_id}/members")
        for one in ("projects/7/members", "projects/{project_id}/members", "projects/é ü/members"):
            self.assertTrue(topic.matches(one), one)
        for other in ("projects//members", "projects/7/8/members", "projects/7", "x/7/members"):
            self.assertFalse(topic.matches(other), other)
        self.assertEqual(topic.fill({"project_id": 7}), "projects/7/members")
        self.assertEqual(topic.parameters, ("project_id",))

    def test_other_parameters(self) -> None:
        """To fill in too many parameters, or too few, is an error that names them."""
        topic = Topic("a/{b}/{c}")
        for parameters in ({}, {"b": 1}, {"b": 1, "c": 2, "d": 3}):
            error = self.assertRaises(TypeError, topic.fill, parameters)
            self.assertIn("b, c", str(error))

    def test_unfit_values(self) -> None:
        """A value that would make another topic, or none, is an error."""
        for value in ("", "1/2", "x" * 200):
            self.assertRaises(ValueError, Topic("a/{b}").fill, {"b": value})

    def test_declared_wrongly(self) -> None:
        """What is no topic is refused where it is declared."""
        for text in ("", "/a", "a/", "a//b", "a/{}", "a/{b", "a/x{b}", "{b}{c}", "{1}", "{b}/{b}",
                     "x" * 201):  # fmt: skip
            self.assertRaises(ValueError, Topic, text)

    def test_contains(self) -> None:
        """A topic is declared if one of those that are stands for it."""
        topics = Topics()
        for declared in ("all", "a/{b}", "a/{c}", "all"):
            topics.add(Topic(declared))
        known: Any = {name: name in topics for name in ("all", "a/7", "a", "b", "")}
        self.assertEqual(known, {"all": True, "a/7": True, "a": False, "b": False, "": False})
