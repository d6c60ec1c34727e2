"""Driving coroutines: as ``Deferred.fromCoroutine`` does, and at once where nothing waits."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar, Token
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, NotACoroutineError, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from x121.core.coroutines import run_eagerly

VARIABLE: ContextVar[int] = ContextVar("VARIABLE", default=0)


async def returns(value: Any) -> Any:
    return value


async def waits_for(deferred: Deferred[Any]) -> Any:
    return await deferred


async def fails() -> None:
    raise ValueError("failed")


class DriveTests(SynchronousTestCase):
    def test_never_waits(self) -> None:
        """A coroutine that never waits has its value returned, and its exception raised."""
        self.assertEqual(run_eagerly(returns(7)), 7)
        self.assertEqual(run_eagerly(waits_for(succeed(7))), 7)
        self.assertRaises(ValueError, run_eagerly, fails())
        self.assertRaises(ValueError, run_eagerly, waits_for(fail(ValueError())))

    def test_waits(self) -> None:
        """One that waits is a Deferred of its value."""
        awaited: Deferred[int] = Deferred()
        driven = run_eagerly(waits_for(awaited))
        self.assertNoResult(driven)
        awaited.callback(7)
        self.assertEqual(self.successResultOf(driven), 7)

    def test_no_coroutine(self) -> None:
        """What is no coroutine is refused as by Twisted."""

        def generator() -> Generator[None, None, None]:
            yield

        for value in (None, 7, succeed(7), returns, generator()):
            with self.assertRaisesRegex(NotACoroutineError, "is not a coroutine"):
                run_eagerly(value)  # type: ignore[arg-type]

    def test_coroutines_of_other_kinds(self) -> None:
        """What a compiler makes is no ``types.CoroutineType``, and driven all the same."""
        awaited: Deferred[int] = Deferred()
        self.assertEqual(run_eagerly(Other(returns(7))), 7)
        driven = run_eagerly(Other(waits_for(awaited)))
        awaited.callback(7)
        self.assertEqual(self.successResultOf(driven), 7)

    def test_context(self) -> None:
        """All of its steps are in one context, a copy of the caller's."""
        awaited: Deferred[None] = Deferred()
        seen = []

        async def coroutine() -> None:
            token = VARIABLE.set(1)
            await awaited
            seen.append(VARIABLE.get())
            VARIABLE.reset(token)
            seen.append(VARIABLE.get())

        outside = VARIABLE.set(7)
        driven: Any = run_eagerly(coroutine())
        seen.append(VARIABLE.get())
        VARIABLE.reset(outside)
        awaited.callback(None)
        self.successResultOf(driven)
        self.assertEqual(seen, [7, 1, 7])

    def test_cancel(self) -> None:
        """To cancel it is to cancel what it waits for, more than once if it goes on waiting."""
        awaited: list[Deferred[None]] = [Deferred(), Deferred()]

        async def stubborn() -> str:
            for one in awaited:
                try:
                    await one
                except CancelledError:
                    continue
            return "ended"

        driven: Any = run_eagerly(stubborn())
        driven.cancel()
        self.assertNoResult(driven)
        self.assertTrue(awaited[0].called)
        self.assertFalse(awaited[1].called)
        driven.cancel()
        self.assertEqual(self.successResultOf(driven), "ended")

    def test_traceback(self) -> None:
        """A traceback names the coroutine's own lines, each once, and none of a swallowed error."""
        awaited: Deferred[None] = Deferred()

        async def swallows() -> None:
            with contextlib.suppress(ValueError):
                await awaited
            await waits_for(fail(KeyError("late")))

        driven = run_eagerly(swallows())
        awaited.errback(ValueError("early"))
        failure = self.failureResultOf(driven, KeyError)
        lines = [frame.name for frame in traceback.extract_tb(failure.tb)]
        self.assertEqual([lines.count(name) for name in ("swallows", "waits_for")], [1, 1])
        self.assertNotIn("early", failure.getTraceback())

    def test_forgotten(self) -> None:
        """One whose awaited Deferred nobody knows any more is closed: ``finally`` runs."""
        ended = []

        async def coroutine() -> None:
            try:
                await Deferred()
            finally:
                ended.append(VARIABLE.get())

        run_eagerly(coroutine())
        gc.collect()
        self.assertEqual(ended, [0])


class Other(Coroutine[Any, Any, Any]):
    """A coroutine of another type."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()


# --- random coroutines, beside Twisted -----------------------------------------------------

Steps = list[Any]

SETTLED = ["fired", "failed", "open", "open", "open", "stubborn"]


class Yields:
    """An awaitable that yields what is no Deferred, or one that has fired."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._value)


class Trial:
    """A coroutine made of ``steps``, driven by ``how``, and everything that can be seen of it."""

    def __init__(self, how: Callable[[Any], Deferred[Any]], settled: list[str]) -> None:
        self._how = how
        self.seen: list[Any] = []
        self.deferreds = [self._make(number, kind) for number, kind in enumerate(settled)]
        self.result: Deferred[Any] | None = None

    def _make(self, number: int, kind: str) -> Deferred[Any]:
        if kind == "fired":
            return succeed(number)
        if kind == "failed":
            return fail(ValueError(number))
        if kind == "stubborn":  # to cancel it is to answer
            return Deferred(lambda deferred: deferred.callback("cancelled"))
        return Deferred(lambda _: self.seen.append(f"cancel {number}"))

    def start(self, steps: Steps) -> None:
        token = VARIABLE.set(100)
        self.result = self._how(self._run(steps))
        VARIABLE.reset(token)
        self.result.addBoth(lambda value: self.seen.append(("ended", shown(value))))

    async def _run(self, steps: Steps) -> Any:
        tokens: list[Token[int]] = []
        for step in steps:
            value = await self._step(step, tokens)
            self.seen.append((step, value, VARIABLE.get()))
            if step[0] == "return":
                return step[1]
        return "end"

    async def _step(self, step: Any, tokens: list[Token[int]]) -> Any:
        match step:
            case ("await", number):
                return await self.deferreds[number % len(self.deferreds)]
            case ("yield", value):
                return await Yields(value)
            case ("yield fired", value):
                return await Yields(succeed(value))
            case ("set", number):
                tokens.append(VARIABLE.set(number))
            case ("reset",) if tokens:
                VARIABLE.reset(tokens.pop())
            case ("raise", number):
                raise KeyError(number)
            case ("cancel itself",) if self.result is not None:
                self.result.cancel()
            case (kind, *steps):
                return await self._inner(kind, *steps)
        return None

    async def _inner(self, kind: str, *steps: Steps) -> Any:
        match kind:
            case "coroutine":
                return await self._run(*steps)
            case "deferred":
                return await self._how(self._run(*steps))
            case "swallow":
                return await self._swallow(*steps)
            case "finally":
                try:
                    return await self._run(steps[0])
                finally:
                    await self._run(steps[1])

    async def _swallow(self, steps: Steps) -> str:
        try:
            return str(await self._run(steps))
        except Exception as error:
            return shown(error)

    def do(self, event: Any) -> None:
        """Let something happen outside."""
        match event:
            case ("cancel",):
                assert self.result is not None
                self.result.cancel()
            case ("fire", number):
                self._settle(number, lambda deferred: deferred.callback(number))
            case ("fail", number):
                self._settle(number, lambda deferred: deferred.errback(ValueError(number)))
            case ("set", number):
                VARIABLE.set(number)
        self.seen.append(event)

    def _settle(self, number: int, freeze_gc: Callable[[Deferred[Any]], None]) -> None:
        deferred = self.deferreds[number % len(self.deferreds)]
        if not deferred.called:
            freeze_gc(deferred)

    def end(self) -> list[Any]:
        """Let it end; return everything that was seen, and what is left in the Deferreds."""
        for number in range(len(self.deferreds)):
            self.do(("fire", number))
        for deferred in self.deferreds:
            deferred.addBoth(lambda value: self.seen.append(shown(value)))
        return self.seen


def shown(value: Any) -> str:
    """Return a value's text; of an exception all that led to it, too."""
    if isinstance(value, Failure):
        value = value.value
    if not isinstance(value, BaseException):
        return repr(value)
    chain = []
    error: BaseException | None = value
    while error is not None:
        chain.append(repr(error))
        error = error.__context__
    return " in ".join(chain)


def drive_to_deferred(coroutine: Any) -> Deferred[Any]:
    """Return the Deferred that a coroutine would be, had it waited."""
    try:
        value = run_eagerly(coroutine)
    except BaseException:
        return fail(Failure())
    return value if isinstance(value, Deferred) else succeed(value)


NUMBERS = st.integers(0, 5)


def inner_steps(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(steps, max_size=4)
    return st.one_of(
        st.tuples(st.sampled_from(["coroutine", "deferred", "swallow"]), some),
        st.tuples(st.just("finally"), some, some),
    )


STEPS = st.lists(
    st.recursive(
        st.one_of(
            st.tuples(st.sampled_from(["await", "await", "set", "raise", "return"]), NUMBERS),
            st.tuples(st.sampled_from(["yield", "yield fired"]), st.none() | NUMBERS),
            st.sampled_from([("reset",), ("cancel itself",)]),
        ),
        inner_steps,
        max_leaves=12,
    ),
    max_size=8,
)
EVENTS = st.lists(
    st.one_of(st.tuples(st.sampled_from(["fire", "fire", "fail", "set"]), NUMBERS))
    | st.just(("cancel",)),
    max_size=10,
)


class LikeTwistedTests(SynchronousTestCase):
    @given(STEPS, st.lists(st.sampled_from(SETTLED), min_size=1, max_size=6), EVENTS)
    @settings(max_examples=300)
    def test_any_coroutine(self, steps: Steps, settled: list[str], events: list[Any]) -> None:
        """Whatever a coroutine does and whatever happens to it, it is as with Twisted's own."""
        seen = []
        for how in (Deferred.fromCoroutine, drive_to_deferred):
            trial = Trial(how, settled)
            trial.start(steps)
            for event in events:
                trial.do(event)
            seen.append(trial.end())
        self.assertEqual(seen[1], seen[0])
