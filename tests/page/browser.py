"""Drive a page of ours in a real Chromium: read it, act on it, wait for it."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.support.waiting import wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en",
)
# Errors of the page are recorded from its first moment on.
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
    violations.push(`${effectiveDirective} ${blockedURI}`);
});
window.failures = [];
addEventListener("error", (event) => failures.push(String(event.message)));
addEventListener("unhandledrejection", (event) => failures.push(String(event.reason)));
"""

VISIBLE_TEXT = """
const element = document.querySelector(arguments[0]);
return element?.checkVisibility() ? element.innerText.trim() : "";
"""


def missing_browser() -> str | None:
    """Return why there is no browser; None when there is one."""
    if not any(map(shutil.which, BROWSERS)):
        return f"no {' or '.join(BROWSERS)} on PATH (Debian: apt-get install chromium chromium-driver)"
    if not shutil.which("chromedriver"):
        return "no chromedriver on PATH (Debian: apt-get install chromium-driver)"
    return None


@dataclass
class Page:
    """Control a browser window on the system at `url`."""

    driver: webdriver.Chrome
    url: str
    allowed: list[str] = field(default_factory=list)
    """Parts of console messages that a test expects, as of a request refused on purpose."""

    def open(self, path: str = "/", **query: str) -> Page:
        """Open a page and wait until its scripts run."""
        self.driver.get(f"{self.url}{path}{'?' + urlencode(query) if query else ''}")
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a function body in the page; return its result."""
        return self.driver.execute_script(script, *arguments)

    def command(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol."""
        answer: dict[str, Any] = self.driver.execute_cdp_cmd(name, parameters)
        return answer

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return the visible text of an element; empty without the element."""
        return str(self.run(VISIBLE_TEXT, selector))

    def fill(self, selector: str, text: str) -> None:
        element = self.one(selector)
        element.clear()
        element.send_keys(text)

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def press(self, *keys: str) -> None:
        """Press keys on the focused element."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        """Return the id, or else the text, of the focused element."""
        return str(self.run("const e = document.activeElement; return e.id || e.textContent.trim()"))

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        return wait_until(condition, what, seconds=seconds)

    def until_text(self, selector: str, wanted: str, seconds: float = 20) -> None:
        try:
            self.until(lambda: wanted in self.text(selector), f"{wanted!r} in {selector}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.text(selector)!r}") from None

    def rows(self) -> list[str]:
        """Return the user_ids on the board, in order."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('#rows .row[data-user-id]')].map(r => r.dataset.userId)"
        )
        return found

    def cells(self, user_id: str) -> dict[str, str]:
        """Return the cells of a player's row."""
        script = """
            const row = document.querySelector(`#rows [data-user-id="${CSS.escape(arguments[0])}"]`);
            const part = (name) => row.querySelector(name);
            const text = (name) => part(name).checkVisibility() ? part(name).innerText.trim() : "";
            return {rank: text(".place"), name: text(".name"), id: text(".id"), score: text("td.score")};
        """
        found: dict[str, str] = self.run(script, user_id)
        return found

    def until_live(self) -> Page:
        self.until(lambda: self.run("return document.getElementById('fresh')?.dataset.state") == "live", "a live board")
        return self

    def until_rows(self, *user_ids: str) -> None:
        self.until(lambda: self.rows() == list(user_ids), f"the order {user_ids}")

    def width(self, pixels: int, height: int = 740) -> None:
        """Set the size of the screen; a narrow one is a phone."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=pixels,
            height=height,
            deviceScaleFactor=2 if pixels < 600 else 1.5,
            mobile=pixels < 600,
        )

    def prefer(self, **features: str) -> None:
        """Set media features, such as `color_scheme="dark"` or `reduced_motion="reduce"`."""
        named = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", features=named)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Take a PNG of the visible part, or of the whole page."""
        parameters: dict[str, Any] = {"format": "png"}
        if whole:
            size = self.command("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            parameters |= {"captureBeyondViewport": True, "clip": clip}
        return base64.b64decode(self.command("Page.captureScreenshot", **parameters)["data"])

    def requested(self) -> list[str]:
        """Return the addresses of all requests of the page, itself included."""
        script = "return [location.href, ...performance.getEntriesByType('resource').map((entry) => entry.name)]"
        found: list[str] = self.run(script)
        return found

    def violations(self) -> list[str]:
        """Return the violations of the Content-Security-Policy since the page was opened."""
        found: list[str] = self.run("return window.violations")
        return found

    def complaints(self) -> list[str]:
        """Return errors in the console, uncaught ones, and violations of the policy, without the allowed ones."""
        logged: list[str] = [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in ("SEVERE", "WARNING")
        ]
        found = logged + list(self.run("return [...violations, ...failures]"))
        return [text for text in found if not any(part in text for part in self.allowed)]


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Start a Chromium with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = next(path for path in map(shutil.which, BROWSERS) if path)
    profile = Path(tempfile.mkdtemp(prefix="leaderboard-browser-"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        # With a path given, selenium downloads no driver.
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()
    finally:
        shutil.rmtree(profile, ignore_errors=True)


@contextmanager
def page_in(driver: webdriver.Chrome, url: str) -> Iterator[Page]:
    """Open a tab without state of earlier ones, on the system at `url`."""
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "local_storage,cookies"})
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    driver.get_log("browser")  # type: ignore[no-untyped-call]
    page = Page(driver, url)
    page.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    page.width(1280, 860)
    try:
        yield page
    finally:
        driver.close()
        driver.switch_to.window(first)
