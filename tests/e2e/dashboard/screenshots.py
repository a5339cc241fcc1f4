"""The pictures of docs/dashboard.md, made anew: ``python -m tests.e2e.dashboard.screenshots``.

A gateway of two workers before the simulator, with callers of two tenants, and every block of its
page in both themes.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

from tests.e2e.admin.operators import OPS, operator
from tests.harness.browser import browser, look
from tests.harness.configuration import PRICE, target
from tests.harness.gateway import Gateway, free_port
from tests.harness.redis_server import RedisServer

FOLDER = Path(__file__).parents[3] / "docs" / "dashboard"
WARM_SECONDS = 60
WIDTH = 980
CALLERS = {"web": "acme", "batch": "acme", "app": "globex"}
MODELS = ("gpt-oss-120b", "qwen3-coder", "mistral-small")
VERIFY = {"tier1": 1, "tier1b": 1, "control": 1, "usd_per_day": 1000}
SAID = ("Summarise ticket {}.", "Please summarise ticket {}", "summarise ticket {}!")
BLOCKS = ("now", "spend", "cache", "limits", "upstreams", "errors")


def secret(name: str) -> str:
    return f"hg-{name}-0123456789abcdef"


def configuration(url: str) -> dict[str, Any]:
    simulator = {"kind": "simulator", "latency": "60ms"}
    return {
        "server": {"workers": 2, "shutdown_delay": "0s", "management": {"port": free_port()}},
        "log": {"format": "json"},
        "store": {"url": url},
        "providers": {
            "house": simulator,
            "cloud": simulator,
            "down": {
                "kind": "openai",
                "base_url": "http://127.0.0.1:1/v1",
                "api_key": "none",
            },
        },
        "models": {
            MODELS[0]: target("house", MODELS[0], price=PRICE)
            | {"cache": {"semantic": {"enabled": True, "verify": VERIFY}}},
            MODELS[1]: target("cloud", MODELS[1], price=PRICE) | {"cache": {}},
            MODELS[2]: {
                "targets": [
                    {"provider": "down", "model": MODELS[2], "price": PRICE},
                    {"provider": "cloud", "model": MODELS[2], "price": PRICE, "tier": 1},
                ]
            },
        },
        "limits": {
            "steady": {"requests_per_minute": 240, "tokens_per_minute": 60000, "concurrent": 8}
        },
        "budgets": {
            "team": {"usd": 30, "per": "day"},
            "house": {"usd": 40, "per": "month"},
            "trial": {"usd": 2, "per": "day"},
        },
        "tenants": {"acme": {"budget": "house"}, "globex": {"budget": "team"}},
        "keys": [
            {
                "id": name,
                "tenant": tenant,
                "secret": secret(name),
                "limits": "steady",
                "capabilities": ["completions", "chat"],
                **({"budget": "trial"} if name == "batch" else {}),
            }
            for name, tenant in CALLERS.items()
        ],
        "admin": {"keys": [operator("ops", OPS, "*")]},
    }


def call_all_day(gateway: Gateway, over: threading.Event, seed: int) -> None:
    """A caller among several: repeated prompts, a wrong model now and then, a wrong key."""
    chance = random.Random(seed)
    while not over.wait(chance.uniform(0.05, 0.6)):
        name = chance.choice(list(CALLERS))
        model = "gpt-unknown" if chance.random() < 0.04 else chance.choice(MODELS)
        key = "hg-forgotten" if chance.random() < 0.03 else secret(name)
        prompt = chance.choice(SAID).format(int(chance.expovariate(0.15)))
        gateway.complete(key, model=model, prompt=prompt, max_tokens=40, temperature=0)


def pictures(gateway: Gateway, running: Any, theme: str) -> None:
    port = gateway.configuration["server"]["management"]["port"]
    with look(running, WIDTH, theme) as one:
        page = one.page
        page.goto(f"http://127.0.0.1:{port}/dashboard/")
        page.fill("#key", OPS)
        page.keyboard.press("Enter")
        for block in BLOCKS:
            page.wait_for_selector(f"#{block} table")
        page.evaluate(
            "document.querySelectorAll('.scroll').forEach((one) => one.style.maxHeight = '19rem')"
        )
        page.wait_for_timeout(1500)  # the charts have drawn themselves
        for block in BLOCKS:
            page.locator(f"#{block}").screenshot(path=FOLDER / f"{block}-{theme}.png")
        page.click("nav >> text=Keys")
        page.click("summary")
        page.wait_for_selector("#keys tbody tr")
        page.locator("#keys").screenshot(path=FOLDER / f"keys-{theme}.png")
        page.click("nav >> text=Playground")
        page.get_by_label("Caller's key").fill(secret("web"))
        page.get_by_label("Model").fill(MODELS[0])
        page.click("text=Send")
        page.wait_for_selector("text=cost, of the record")
        page.locator("#playground").screenshot(path=FOLDER / f"playground-{theme}.png")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    over = threading.Event()
    with RedisServer.start() as server, Gateway(configuration(server.url)) as gateway:
        callers = [
            threading.Thread(target=call_all_day, args=(gateway, over, seed)) for seed in range(4)
        ]
        for one in callers:
            one.start()
        try:
            over.wait(WARM_SECONDS)
            with browser() as running:
                for theme in ("light", "dark"):
                    pictures(gateway, running, theme)
        finally:
            over.set()
            for one in callers:
                one.join()


if __name__ == "__main__":
    main()
