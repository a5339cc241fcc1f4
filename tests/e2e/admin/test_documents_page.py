"""/docs in a real browser: every page opens, a call can be tried, and nothing is forbidden or fetched
from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.admin.test_documents import settings
from tests.harness.browser import browser, look
from tests.harness.client_install import Unavailable
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway, free_port
from tests.harness.waiting import eventually

PHONE = 375


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    try:
        with browser() as running:
            yield running
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    port = free_port()
    with Gateway(settings(False, port)):
        yield f"http://127.0.0.1:{port}/docs"


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (PHONE, "dark")])
def test_reference_and_pages_show_at_any_width_without_a_barrier(
    address: str, chromium: Any, width: int, theme: str
) -> None:
    with look(chromium, width, theme) as one:
        asked: list[str] = []
        one.page.on("request", lambda request: asked.append(request.url))
        one.page.goto(address)
        one.page.wait_for_selector("#createCompletion")
        found = [one.barriers()]
        wide = [one.is_wider_than_the_window()]
        for name, heading in (("tutorial", "Ten minutes with Headgate"), ("api", None)):
            one.page.click(f'nav a[href="#{name}"]')
            one.page.wait_for_selector("main a[href$='.md']")
            title = one.page.locator("main h1")
            if heading is not None:
                eventually(title.inner_text, heading)
            if width == PHONE:  # looking for them takes seconds
                found.append(one.barriers())
            wide.append(one.is_wider_than_the_window())
        assert [barrier for page in found for barrier in page] == []
        assert wide == [False] * 3
        assert one.troubles() == []
        assert all(url.startswith(address.removesuffix("/docs")) for url in asked)


def test_a_call_is_tried_and_its_stream_is_shown(address: str, chromium: Any) -> None:
    with look(chromium) as one:
        one.page.goto(address)
        one.page.wait_for_selector("#createCompletion")
        one.page.fill("#key", KEY)
        one.page.click("#createCompletion summary")
        one.page.select_option("#createCompletion select", label="a batch, streamed")
        one.page.click("#createCompletion button")
        shown = one.page.locator("#createCompletion pre[aria-live]")
        eventually(lambda: "data: [DONE]" in shown.inner_text())
        assert shown.inner_text().startswith("200\n")
        assert "x-request-id: " in shown.inner_text()
        assert one.troubles() == []
        assert KEY not in one.page.url
        assert one.page.evaluate("localStorage.length + sessionStorage.length") == 0
