"""JupyterLab in a real Chromium, as a person drives it: menus, keys, and what stands on the screen."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from playwright.async_api import Locator, Page, async_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"


def chromium() -> str:
    """Where Chromium is; an error that says how to get one if it is missing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise AssertionError("No Chromium was found. Install it as root: apt-get install chromium")


class Lab:
    """One browser page with one user's JupyterLab."""

    def __init__(self, page: Page, hub_url: str, user: str, screenshots: Path) -> None:
        self.page = page
        self.hub_url = hub_url.rstrip("/")
        self.user = user
        self.screenshots = screenshots

    async def log_in(self, password: str) -> None:
        """Through the Hub's form to JupyterLab."""
        await self.page.goto(f"{self.hub_url}/hub/login")
        await self.page.fill("#username_input", self.user)
        await self.page.fill("#password_input", password)
        await self.page.click("#login_submit")
        await self.page.wait_for_selector("#jp-main-dock-panel", timeout=60000)

    async def open(self, path: str) -> float:
        """Open a notebook by its address; returns the seconds from its panel to Idle."""
        await self.page.goto(f"{self.hub_url}/user/{self.user}/lab/tree/{path}?reset")
        return await self.idle_after_panel()

    async def reload(self) -> None:
        """Load the page again."""
        await self.page.reload()
        await self.page.wait_for_selector(f"{PANEL} .jp-Cell", timeout=30000)

    async def idle_after_panel(self, within: float = 10) -> float:
        """Seconds from the notebook's panel being drawn until its kernel shows Idle."""
        await self.page.wait_for_selector(f"{PANEL} .jp-Cell", timeout=30000)
        drawn = monotonic()
        await self.status("idle", within=within)
        return monotonic() - drawn

    async def status_now(self) -> str:
        """The kernel's status word in the status bar: the toolbar's circle is drawn idle before there is a kernel."""
        for text in await self.page.locator("#jp-main-statusbar .jp-StatusBar-TextItem").all_inner_texts():
            if " | " in text:
                return text.rsplit(" | ", 1)[1].strip().lower()
        return ""

    async def status(self, word: str, *, within: float = 10) -> None:
        """Wait for a status word."""
        last, deadline = "", monotonic() + within
        while (last := await self.status_now()) != word:
            if monotonic() > deadline:
                await self.shot(f"no-{word}")
                raise AssertionError(f"the kernel shows {last!r}, not {word!r}, after {within} s")
            await asyncio.sleep(0.05)

    def cell(self, number: int) -> Locator:
        """A code cell of the notebook in front, from 0."""
        return self.page.locator(f"{PANEL} .jp-Notebook .jp-CodeCell").nth(number)

    async def prompt(self, number: int) -> str:
        """What stands in a cell's brackets, such as ``[*]`` or ``[3]``."""
        return (await self.cell(number).locator(".jp-InputArea-prompt").inner_text()).strip().rstrip(":")

    async def output(self, number: int) -> str:
        """The text under a cell."""
        area = self.cell(number).locator(".jp-OutputArea")
        return (await area.first.inner_text()).strip() if await area.count() else ""

    async def run(self, number: int) -> None:
        """Run one cell by Ctrl+Enter."""
        await self.cell(number).locator(".cm-content").click()
        await self.page.keyboard.press("Control+Enter")

    async def menu(self, menu: str, entry: str) -> None:
        """Click an entry of the menu bar."""
        await self.page.click(f'.lm-MenuBar-itemLabel:text-is("{menu}")')
        item = self.page.locator(
            ".lm-Menu-item:visible", has=self.page.locator(f'.lm-Menu-itemLabel:text-matches("^{entry}")')
        )
        await item.first.click()

    async def dialogs(self) -> int:
        """How many dialogs are open."""
        return await self.page.locator(".jp-Dialog").count()

    async def until(self, look: Any, *, within: float, what: str) -> Any:
        """Wait until an async look at the page gives something true."""
        answer, deadline = None, monotonic() + within
        while not (answer := await look()):
            if monotonic() > deadline:
                await self.shot("timeout")
                raise AssertionError(f"{what}: not within {within} s")
            await asyncio.sleep(0.1)
        return answer

    async def done(self, number: int, within: float = 30) -> str:
        """Wait until a cell is no longer ``[*]`` and has run; returns its prompt."""

        async def ended() -> str:
            prompt = await self.prompt(number)
            return prompt if prompt not in ("[*]", "") else ""

        return str(await self.until(ended, within=within, what=f"the end of cell {number}"))

    async def save(self) -> None:
        """Save by Ctrl+S."""
        await self.page.keyboard.press("Control+s")
        await asyncio.sleep(1)

    async def shot(self, name: str) -> None:
        """Keep a screenshot."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=self.screenshots / f"{name}.png")


@asynccontextmanager
async def browser_lab(hub_url: str, user: str, password: str, screenshots: Path) -> AsyncIterator[Lab]:
    """A logged-in JupyterLab in a Chromium of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        try:
            context = await browser.new_context(viewport={"width": 1280, "height": 800})
            lab = Lab(await context.new_page(), hub_url, user, screenshots)
            await lab.log_in(password)
            yield lab
        finally:
            await browser.close()
