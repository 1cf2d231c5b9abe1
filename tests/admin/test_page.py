import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.admin.conftest import House, MakeHouse

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MARKUP = "<img src=x onerror=alert(1)>"
CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const element = text.parentElement;
    if (!text.textContent.trim() || !element.checkVisibility() || element.closest("noscript")) continue;
    const [one, two] = [light(getComputedStyle(element).color), light(ground(element))];
    found.push([(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), text.textContent]);
  }
  return found;
}"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (apt-get install chromium)")]


@asynccontextmanager
async def browsing(
    house: House, *, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> AsyncIterator[Page]:
    """Open the page in a real browser; a word of the browser about anything wrong fails the test."""
    words: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        page = await context.new_page()
        page.on("console", lambda message: words.append(message.text))
        page.on("pageerror", lambda error: words.append(str(error)))
        page.on("dialog", lambda dialog: words.append(dialog.message))
        await page.goto(f"{house.url}/")
        await expect(page.locator("#link")).to_have_text("live")
        yield page
        await browser.close()
    assert words == []


def rows(page: Page, table: str) -> Any:
    """Return the table's rows."""
    return page.locator(f"#{table} tbody tr")


async def test_trouble_is_on_top_among_two_hundred(house: MakeHouse) -> None:
    """A cluster that died stands first, with its label, what is wrong, and in words for who can't see it."""
    running = await house("east", "west", unused=198, labels={"west": "PROD"}, limits={"breaker_failures": 2})
    for name in ("east", "west"):
        await running.call(name)
    await running.clusters["west"].stop()
    for _ in range(2):
        await running.call("west")
    async with browsing(running) as page:
        await expect(rows(page, "clusters")).to_have_count(2)
        first = rows(page, "clusters").nth(0)
        for word in ("west", "PROD", "not answering", "tried again in", "nothing answers at its address"):
            await expect(first).to_contain_text(word)
        await expect(page.get_by_role("status").nth(1)).to_have_text("In trouble: west")
        await expect(page.locator("#shown")).to_have_text("2 of 200 clusters are shown")
        await page.get_by_label("Unused clusters too").check()
        await expect(rows(page, "clusters")).to_have_count(200)
        await page.get_by_label("Only trouble").check()
        await expect(rows(page, "clusters")).to_have_count(1)
        await page.get_by_label("Only trouble").uncheck()
        await page.get_by_label("Filter").fill("cluster-17")
        await expect(rows(page, "clusters")).to_have_count(10)


async def test_it_is_live_and_can_be_paused(house: MakeHouse) -> None:
    """A call shows within moments, without the page being asked for again; paused, nothing moves."""
    running = await house("east")
    async with browsing(running) as page:
        await expect(rows(page, "calls")).to_have_count(0)
        await running.call("east")
        await expect(rows(page, "calls")).to_have_count(1)
        await expect(rows(page, "calls").nth(0)).to_contain_text("system:serviceaccount:demo:mcp")
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator("#link")).to_have_text("paused")
        await running.call("east")
        before = await page.evaluate("received")
        await page.wait_for_function("before => received > before", arg=before)
        await expect(rows(page, "calls")).to_have_count(1)
        await page.get_by_role("button", name="Pause").click()
        await expect(rows(page, "calls")).to_have_count(2)


async def test_sessions_and_who_is_limited_are_there(house: MakeHouse) -> None:
    """Who holds what, and who was told to slow down, by name; nothing that was asked for or answered."""
    running = await house("east", limits={"reads_per_minute": 2})
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    await running.post("east", {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about})
    for _ in range(4):
        await running.call("east", resource="configmaps")
    async with browsing(running) as page:
        await expect(rows(page, "sessions")).to_have_text(["system:serviceaccount:demo:mcpeast1"])
        await expect(rows(page, "limited").nth(0)).to_contain_text("system:serviceaccount:demo:mcpeastreads2")
        await expect(rows(page, "calls")).to_have_count(4)
        text = await page.locator("body").inner_text()
        assert "configmaps" not in text
        assert not any(part in text for part in running.tokens["east"].split("."))


async def test_names_are_text(house: MakeHouse) -> None:
    """A label, as a subject or an error may, holds markup: it is shown, never obeyed."""
    running = await house("east", labels={"east": MARKUP})
    await running.call("east")
    async with browsing(running) as page:
        await expect(rows(page, "clusters").nth(0)).to_contain_text(MARKUP)
        assert await page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
async def test_it_can_be_read(house: MakeHouse, scheme: Literal["light", "dark"], width: int) -> None:
    """Every text has a contrast of 4.5 (WCAG 2.2, 1.4.3), and nothing has to be scrolled sideways (1.4.10)."""
    running = await house("east", "west", unused=18, labels={"west": "PROD"}, limits={"reads_per_minute": 2})
    for _ in range(4):
        await running.call("east")
    await running.call("west")
    await running.clusters["west"].stop()
    await running.call("west")
    async with browsing(running, width=width, scheme=scheme) as page:
        await page.get_by_label("Unused clusters too").check()
        await expect(rows(page, "clusters")).to_have_count(20)
        shown = await page.evaluate(CONTRAST)
        assert len(shown) > 60
        assert [each for each in shown if each[0] < 4.5] == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_it_works_without_a_mouse_and_for_a_reader(house: MakeHouse) -> None:
    """Everything that can be worked is reached by Tab and shows it; tables keep captions and headers in any width."""
    running = await house("east")
    await running.call("east")
    async with browsing(running, width=375) as page:
        reached = []
        for _ in range(4):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate("document.activeElement.id"))
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached == ["pause", "filter", "trouble", "unused"]
        await page.keyboard.press("Space")
        await expect(page.get_by_label("Unused clusters too")).to_be_checked()
        table = page.get_by_role("table", name="Recent calls")
        await expect(table.get_by_role("columnheader")).to_have_count(7)
        await expect(table.get_by_role("rowheader")).to_have_count(1)
        await expect(table.get_by_role("cell")).to_have_count(6)
