"""Debian's Chromium, driven by Playwright, and what it says about a page."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from tests.harness.client_install import axe, chromium, playwright
from tests.harness.waiting import PATIENCE

# What a page was forbidden is also an event; console lines alone may be cut.
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation',
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Look:
    """One page in a window of its own. ``trouble`` is what its console and its errors said."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.trouble: list[str] = []
        self._devtools = context.new_cdp_session(self.page)
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.add_init_script(WATCH)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: dialog.accept())

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(f"{message.type}: {message.text}")

    def troubles(self) -> list[str]:
        """Everything that a clean page does not say."""
        return [*self.trouble, *self.page.evaluate("window.violations")]

    def is_wider_than_the_window(self) -> bool:
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.page.evaluate(wide))

    def barriers(self) -> list[Any]:
        """What axe-core finds; asked through the devtools, because the page lets no script in."""
        script = f"{axe()};axe.run().then((found) => JSON.stringify(found.violations.map("
        script += "(one) => [one.id, one.nodes.map((node) => node.html.slice(0, 200))])))"
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        found: list[Any] = json.loads(
            self._devtools.send("Runtime.evaluate", asked)["result"]["value"]
        )
        return found


@contextmanager
def browser() -> Iterator[Any]:
    """A running browser. Raises Unavailable where it cannot be had."""
    program = chromium()
    folder = str(playwright())
    sys.path.append(folder)
    try:
        sync = import_module("playwright.sync_api")
        with sync.sync_playwright() as driver:
            options = ["--no-sandbox"] if os.geteuid() == 0 else []
            one = driver.chromium.launch(executable_path=str(program), args=options)
            try:
                yield one
            finally:
                one.close()
    finally:
        sys.path.remove(folder)


@contextmanager
def look(running: Any, width: int = 1440, theme: str = "light") -> Iterator[Look]:
    """A window of this width, in a profile of its own."""
    size = {"width": width, "height": 900}
    context = running.new_context(viewport=size, color_scheme=theme)
    try:
        yield Look(context)
    finally:
        context.close()
