"""Topics, as they are declared and as clients name them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from x121.messaging.topics import Topic, Topics


class TopicTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """One without a parameter stands for itself alone."""
        topic = Topic("projects/all")
        self.assertEqual(topic.parse("projects/all"), {})
        for other in ("projects", "projects/", "projects/all/", "/projects/all", "Projects/all"):
            self.assertIsNone(topic.parse(other), other)
        self.assertEqual((topic.fill({}), topic.parameters), ("projects/all", ()))

    def test_parameter(self) -> None:
        """A parameter stands for any text between its slashes, but for none."""
        topic = Topic("projects/{project_id}/members")
        for one in ("projects/7/members", "projects/{project_id}/members", "projects/é ü/members"):
            self.assertIsNotNone(topic.parse(one), one)
        for other in ("projects//members", "projects/7/8/members", "projects/7", "x/7/members"):
            self.assertIsNone(topic.parse(other), other)
        self.assertEqual(topic.parse("projects/7/members"), {"project_id": "7"})
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

    # --- rules ---

    def find(self, *declared: Topic) -> Topics:
        """Return topics that are declared with their rules, by no class."""
        topics = Topics()
        for topic in declared:
            topics.add(topic, topic.rule_on(None))
        return topics

    def test_find(self) -> None:
        """A topic is found if one of those that are declared stands for it."""
        topics = self.find(Topic("all", public=True), Topic("a/{b}", public=True))
        known = {name: topics.find(name) is not None for name in ("all", "a/7", "a", "b", "")}
        self.assertEqual(known, {"all": True, "a/7": True, "a": False, "b": False, "": False})

    def test_rule(self) -> None:
        """The rule of a topic is asked with the connection and the parameters, by name."""
        topic = Topic("a/{b}/{c}")
        asked = []

        @topic.rule
        def rule(connection: Any, b: str, c: str) -> None:
            asked.append((connection, b, c))

        found = self.find(topic).find("a/7/x")
        assert found is not None
        connection: Any = object()
        found(connection)
        self.assertEqual(asked, [(connection, "7", "x")])

    def test_plain_before_pattern(self) -> None:
        """A topic that is declared as it stands goes before one with parameters."""
        pattern, plain = Topic("a/{b}"), Topic("a/all", public=True)

        @pattern.rule
        def rule(connection: Any, b: str) -> None:
            raise AssertionError("the pattern's rule was asked")

        found = self.find(pattern, plain).find("a/all")
        assert found is not None
        connection: Any = object()
        found(connection)

    def test_no_rule(self) -> None:
        """A topic that is neither public nor has a rule is refused, with what to write."""
        error = self.assertRaises(ValueError, Topic("a/{b}").rule_on, None)
        self.assertIn("'a/{b}'", str(error))
        self.assertIn("public=True", str(error))

    def test_declared_twice(self) -> None:
        """A topic belongs to one declaration."""
        topic = Topic("all", public=True)
        self.assertRaises(ValueError, self.find, topic, Topic("all", public=True))
