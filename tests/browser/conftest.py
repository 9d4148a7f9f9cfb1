"""A real Chromium, and the pages that it opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PROGRAMS = ("chromium", "chromedriver")
# Root may not use the sandbox, and containers have little shared memory.
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage")


@dataclass(frozen=True)
class Browser:
    """Chromium without a network: every address but a file fails."""

    driver: webdriver.Chrome

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Show the page in a window of this width; up to 500 pixels it is a phone's."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width <= 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(page.resolve().as_uri())

    def run(self, script: str) -> Any:
        """The value of a script's `return`."""
        return self.driver.execute_script(script)

    def requested(self) -> list[str]:
        """Every address that was asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        pytest.fail(
            f"{' and '.join(absent)} not found; install: apt-get install chromium chromium-driver", pytrace=False
        )
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a replay of a simulated file with the shipped model and policy, and some broken lines."""
    folder = tmp_path_factory.mktemp("report")
    transactions = folder / "transactions.jsonl"
    size = ("--days", "45", "--customers", "120", "--merchants", "150", "--fraud-rate", "0.03", "--seed", "5")
    assert run_here("simulate", "--out", transactions, *size).exit_code == 0
    with transactions.open("a") as file:
        file.write('{"transaction_id": \n')
    finished = run_here("replay", transactions, "--from", "2026-01-20", "--out", folder / "out")
    assert (finished.exit_code, finished.stderr) == (0, "")
    return folder / "out" / "report.html"
