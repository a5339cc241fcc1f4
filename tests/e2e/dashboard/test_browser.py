"""The page in a real browser: what an operator does there, and what must never happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.admin.operators import CALLER, OPS, operator
from tests.e2e.dashboard.visitor import HOSTILE, watched
from tests.harness.browser import Look, browser, look
from tests.harness.client_install import Unavailable
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # the first run gets the browser and its driver
PHONE = 375
GLOBEX = "hg-globex-reader-0123456789abcdef"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    try:
        with browser() as running:
            yield running
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    made = watched()
    reader = operator("globex-reader", GLOBEX, "usage:read", tenants=["globex"])
    made["admin"]["keys"].append(reader)
    with Gateway(made, [OPS, CALLER, GLOBEX]) as gateway:
        for number in range(8):
            fields: dict[str, Any] = {"max_tokens": 5, "temperature": 0, "user": HOSTILE}
            gateway.complete(CALLER, model="sim", prompt=f"p{number % 3}", **fields)
            gateway.complete(CALLER, model=HOSTILE, prompt=HOSTILE, **fields)
        gateway.complete(CALLER, model="nothing")
        yield gateway


def address(gateway: Gateway, below: str = "") -> str:
    port = gateway.configuration["server"]["management"]["port"]
    return f"http://127.0.0.1:{port}/dashboard/{below}"


def enter(one: Look, gateway: Gateway, key: str = OPS) -> Any:
    """Sign in, by keyboard alone."""
    one.page.goto(address(gateway))
    one.page.wait_for_selector("#key")
    one.page.keyboard.type(key)
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#now .tiles" if key == OPS else "#now")
    return one.page


def executed(one: Look) -> Any:
    """What the hostile names would have set, had one of them become HTML."""
    return one.page.evaluate("window.hit")


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (PHONE, "dark")])
def test_every_block_shows_at_any_width_without_a_barrier(
    served: Gateway, chromium: Any, width: int, theme: str
) -> None:
    with look(chromium, width, theme) as one:
        page = enter(one, served)
        for block in ("now", "spend", "cache", "limits", "upstreams", "errors"):
            page.wait_for_selector(f"#{block} table")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        found = {"overview": one.barriers()}
        wide = [one.is_wider_than_the_window()]
        for view in ("Keys", "Playground"):
            page.click(f"nav >> text={view}")
            page.wait_for_selector(f"#{view.lower()} h2")
            found[view] = one.barriers()
            wide.append(one.is_wider_than_the_window())
        assert found == {"overview": [], "Keys": [], "Playground": []}
        assert wide == [False] * 3
        assert (one.troubles(), executed(one)) == ([], None)


def test_who_sees_one_tenant_gets_a_page_without_a_refusal(served: Gateway, chromium: Any) -> None:
    with look(chromium) as one:
        page = enter(one, served, GLOBEX)
        page.wait_for_selector("#spend >> text=Nothing was used")
        assert page.locator("#upstreams").count() == 0
        page.click("nav >> text=Keys")
        page.wait_for_selector("text=lacks the scope")
        assert (one.barriers(), one.troubles()) == ([], [])


def test_the_figures_are_those_of_the_api(served: Gateway, chromium: Any) -> None:
    with look(chromium) as one:
        page = enter(one, served)
        usage = page.evaluate("fetch('/admin/v1/usage?since=24h').then((answer) => answer.json())")
        total = page.locator("#spend tfoot td")
        eventually(lambda: total.nth(3).inner_text(), str(usage["totals"]["requests"]))
        shown = [float(text.strip("$")) for text in total.all_inner_texts()[-2:]]
        assert shown == [float(usage["totals"][name]) for name in ("cost_usd", "saved_usd")]
        # A hostile name is a text in a cell.
        assert HOSTILE in page.locator("#spend tbody td").all_inner_texts()


def test_requests_show_up_as_they_come_and_open_to_a_record(served: Gateway, chromium: Any) -> None:
    with look(chromium) as one:
        page = enter(one, served)
        page.wait_for_selector("#now .sub-head >> text=following")
        served.complete(CALLER, {"x-request-id": "seen-in-the-tail"}, model=HOSTILE, prompt=HOSTILE)
        first = page.locator("#now tbody tr").first
        first.locator(f"text={HOSTILE}").wait_for()
        first.locator("button").press("Enter")
        page.wait_for_selector("dialog >> text=seen-in-the-tail")
        page.keyboard.press("Escape")
        assert (one.troubles(), executed(one)) == ([], None)


def test_the_playground_streams_and_shows_what_was_written_as_a_text(
    served: Gateway, chromium: Any
) -> None:
    with look(chromium) as one:
        page = enter(one, served)
        page.click("nav >> text=Playground")
        page.get_by_label("Caller's key").fill(CALLER)
        page.get_by_label("Model").fill(HOSTILE)
        page.get_by_label("user").fill(HOSTILE)
        page.get_by_label("Text").fill(HOSTILE)
        page.click("text=Send")
        page.wait_for_selector("text=x-provider")
        page.wait_for_selector("[data-choice='0']")
        eventually(lambda: page.locator("[aria-busy='false']").count())
        assert page.locator("[data-choice='0']").inner_text().strip()
        page.wait_for_selector("text=cost, of the record")
        page.click("summary >> text=curl")
        assert HOSTILE in page.locator("[aria-label='curl']").inner_text().replace('\\"', '"')
        # Other shapes of the same call: plain with log-probabilities, and chat.
        page.get_by_label("stream").uncheck()
        page.get_by_label("logprobs").fill("2")
        page.click("text=Send")
        page.wait_for_selector("h3 >> text=Tokens")
        page.get_by_label("Input").select_option("messages")
        page.get_by_label("logprobs").fill("")
        page.click("text=Send")
        page.wait_for_selector("[data-choice='0']")
        kept = page.evaluate(
            "[location.href, ...Object.values(localStorage), document.cookie].join()"
        )
        assert CALLER not in kept
        assert OPS not in kept
        assert (one.troubles(), executed(one)) == ([], None)


def test_a_key_is_created_works_and_is_refused_when_blocked(served: Gateway, chromium: Any) -> None:
    with look(chromium, PHONE) as one:
        page = enter(one, served)
        page.click("nav >> text=Keys")
        page.click("summary >> text=New key")
        page.get_by_label("Name").fill("from-the-page")
        page.get_by_label("Tenant").select_option("acme")
        page.get_by_label("Capabilities").fill("completions")
        page.click("text=Create the key")
        secret = page.locator("#secret").inner_text()
        row = page.locator("tr", has_text="from-the-page")
        row.locator("text=good").wait_for()
        eventually(lambda: served.complete(secret, model="sim").status, 200)
        row.get_by_text("Block", exact=True).click()
        row.locator("text=blocked").wait_for()
        eventually(lambda: served.complete(secret, model="sim").status, 401)
        # The playground shows the refusal as any caller would get it.
        page.click("nav >> text=Playground")
        page.get_by_label("Caller's key").fill(secret)
        page.get_by_label("Model").fill("sim")
        page.click("text=Send")
        page.wait_for_selector("text=blocked_api_key")
        # The console tells of answers with 401, which are what was asked for here.
        assert [line for line in one.troubles() if "401" not in line] == []


def test_the_theme_is_kept_and_a_reload_stays_signed_in(served: Gateway, chromium: Any) -> None:
    with look(chromium) as one:
        page = enter(one, served)
        page.click("text=Dark")
        page.reload()
        page.wait_for_selector("#now .tiles")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.click("text=Sign out")
        page.wait_for_selector("#key")
        page.reload()
        page.wait_for_selector("#key")
        assert one.troubles() == []
