"""Callers of a balancer that go on while what is behind it changes: requests, and long streams."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import httpx

from tests.harness.credentials import KEY
from tests.harness.prompts import PROMPT
from tests.harness.waiting import PATIENCE

THREADS = 4
REST = 60.0  # seconds in which everything that was begun has ended


def post(client: httpx.Client, url: str, **members: Any) -> httpx.Response:
    body = {"model": "fast", "prompt": PROMPT, "max_tokens": 2} | members
    headers = {"authorization": f"Bearer {KEY}"}
    return client.post(f"{url}/v1/completions", json=body, headers=headers)


class Callers:
    """Steady requests from a few kept-alive connections, counted by how they ended."""

    def __init__(self, url: str, at_least: int, per_second: float = 60.0, **members: Any) -> None:
        self._url = url
        self._at_least = at_least
        self._per_second = per_second
        self._members = members
        self.ends: Counter[str] = Counter()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> Counter[str]:
        """Once there were as many requests as wanted."""
        self._enough.set()
        for thread in self._threads:
            thread.join(REST)
        return self.ends

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            sent, due = 0, time.monotonic()
            while sent < self._at_least / THREADS or not self._enough.is_set():
                sent, due = sent + 1, due + THREADS / self._per_second
                try:
                    end = str(post(client, self._url, **self._members).status_code)
                except httpx.HTTPError as error:
                    end = type(error).__name__
                self.ends[end] += 1
                time.sleep(max(0.0, due - time.monotonic()))  # the pace


class Streams:
    """Streams that have begun when this is made, one from each URL."""

    def __init__(self, urls: list[str], tokens: int, model: str = "slow") -> None:
        self.ends: list[str] = []
        self._body = {"model": model, "prompt": PROMPT, "max_tokens": tokens, "stream": True}
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._read, args=(url,)) for url in urls]
        for thread in self._threads:
            thread.start()
        for _ in urls:
            assert self._begun.acquire(timeout=PATIENCE)

    def finish(self) -> list[str]:
        """The last line of each, ``data: [DONE]`` where it was whole, or the error's name."""
        for thread in self._threads:
            thread.join(REST)
        return self.ends

    def _read(self, url: str) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        last = "nothing"
        try:
            with httpx.stream(
                "POST",
                f"{url}/v1/completions",
                json=self._body,
                headers=headers,
                trust_env=False,
                timeout=PATIENCE,
            ) as response:
                for line in response.iter_lines():
                    if last == "nothing":
                        self._begun.release()
                    last = line or last
        except httpx.HTTPError as error:
            last = type(error).__name__
        self.ends.append(last)
