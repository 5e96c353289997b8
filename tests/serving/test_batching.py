"""Requests are answered together, in order, and refused when there are too many."""

from __future__ import annotations

import asyncio
import threading
import weakref

import pytest

from recsys.serving.batching import Batcher, OverloadedError

from waiting import LONG, wait_until


def test_what_arrives_together_is_answered_together() -> None:
    sizes: list[int] = []
    begun, gate = threading.Event(), threading.Event()

    def answer(asked):
        sizes.append(len(asked))
        begun.set()
        gate.wait(LONG)
        return [one * 10 for one in asked]

    async def main():
        batcher = Batcher(answer, largest=4)
        tasks = [asyncio.create_task(batcher.ask(0))]
        await asyncio.to_thread(begun.wait, LONG)
        tasks += [asyncio.create_task(batcher.ask(number)) for number in range(1, 7)]
        while len(batcher) < 6:
            await asyncio.sleep(0)
        gate.set()
        found = await asyncio.gather(*tasks)
        batcher.close()
        return found

    assert asyncio.run(main()) == [number * 10 for number in range(7)]
    assert sizes == [1, 4, 2]  # nobody waits for company


def test_too_many_are_refused_at_once_and_who_waits_too_long_is_given_up_but_not_who_is_being_answered() -> None:
    begun, gate = threading.Event(), threading.Event()

    def answer(asked):
        begun.set()
        gate.wait(LONG)
        return asked

    async def main():
        batcher = Batcher(answer, waiting=2, patience=LONG)
        tasks = [asyncio.create_task(batcher.ask(0))]
        await asyncio.to_thread(begun.wait, LONG)
        tasks += [asyncio.create_task(batcher.ask(number)) for number in range(1, 4)]
        while len(batcher) < 2:
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        now = loop.time
        loop.time = lambda: now() + 2 * LONG  # the patience of all is over, also of who is being answered
        refused = await asyncio.gather(*tasks[1:], return_exceptions=True)
        assert not tasks[0].done()  # it waits as long as they do, and what is worked out for it is not thrown away
        gate.set()
        found = await tasks[0]
        batcher.close()
        return found, refused

    found, refused = asyncio.run(main())
    assert found == 0
    assert all(isinstance(one, OverloadedError) for one in refused)
    assert {one.thing for one in refused} == {"recommendations"}
    assert "requests wait already" in str(refused[2])
    assert "no answer within" in str(refused[0])
    assert refused[0].retry_after >= 1


def test_an_error_reaches_those_who_asked_and_the_next_are_answered() -> None:
    def answer(asked):
        if "bad" in asked:
            raise ValueError("no")
        return asked

    async def main():
        batcher = Batcher(answer)
        with pytest.raises(ValueError, match="no"):
            await batcher.ask("bad")
        found = await batcher.ask("good")
        batcher.close()
        return found

    assert asyncio.run(main()) == "good"


def test_an_answer_of_the_wrong_length_is_an_error_and_not_the_end() -> None:
    async def main():
        batcher = Batcher(lambda asked: [*asked, "one too many"] if "bad" in asked else asked)
        with pytest.raises(ValueError, match="longer"):
            await batcher.ask("bad")
        found = await batcher.ask("good")
        batcher.close()
        return found

    assert asyncio.run(main()) == "good"


def test_who_waits_when_it_closes_is_refused_and_who_is_being_answered_is_not() -> None:
    begun, gate = threading.Event(), threading.Event()

    def answer(asked):
        begun.set()
        gate.wait(LONG)
        wait_until(lambda: len(batcher) == 1)  # closed: of two that waited and the mark of the end, the mark is left
        return asked

    batcher = Batcher(answer)

    async def main():
        tasks = [asyncio.create_task(batcher.ask("first"))]
        await asyncio.to_thread(begun.wait, LONG)
        tasks += [asyncio.create_task(batcher.ask(name)) for name in ("second", "third")]
        while len(batcher) < 2:
            await asyncio.sleep(0)
        gate.set()
        batcher.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(OverloadedError, match="stopping"):
            await batcher.ask("fourth")
        return results

    found, *refused = asyncio.run(main())
    assert found == "first"
    assert [type(one) for one in refused] == [OverloadedError] * 2


def test_one_service_answers_in_one_event_loop_after_another() -> None:
    batcher = Batcher(lambda asked: asked)
    assert [asyncio.run(batcher.ask(number)) for number in range(3)] == [0, 1, 2]
    batcher.close()


def test_nothing_of_a_batch_is_kept_when_it_is_answered() -> None:
    class Asked:
        pass

    async def main():
        batcher, asked = Batcher(lambda batch: [None] * len(batch)), Asked()
        left = weakref.ref(asked)
        await batcher.ask(asked)
        del asked
        await asyncio.to_thread(wait_until, lambda: left() is None)  # it holds a ranker, which may be taken out
        batcher.close()

    asyncio.run(main())
