"""Requests are answered together, in order, and refused when there are too many."""

from __future__ import annotations

import asyncio
import threading

import pytest

from recsys.serving.batching import Batcher, OverloadedError


def test_what_arrives_together_is_answered_together() -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def answer(asked):
        if not sizes:
            gate.wait(5)
        sizes.append(len(asked))
        return [one * 10 for one in asked]

    async def main():
        batcher = Batcher(answer, largest=4)
        tasks = [asyncio.create_task(batcher.ask(number)) for number in range(7)]
        await asyncio.sleep(0.05)
        gate.set()
        found = await asyncio.gather(*tasks)
        batcher.close()
        return found

    assert asyncio.run(main()) == [number * 10 for number in range(7)]
    assert sizes == [1, 4, 2]  # nobody waits for company


def test_too_many_are_refused_at_once_and_late_ones_are_given_up() -> None:
    gate = threading.Event()

    def answer(asked):
        gate.wait(5)
        return asked

    async def main():
        batcher = Batcher(answer, waiting=2, patience=0.2)
        tasks = [asyncio.create_task(batcher.ask(number)) for number in range(4)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        gate.set()
        batcher.close()
        return results

    results = asyncio.run(main())
    assert all(isinstance(one, OverloadedError) for one in results)
    assert "requests wait already" in str(results[3])
    assert "no answer within" in str(results[0])
    assert results[0].retry_after >= 1


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
