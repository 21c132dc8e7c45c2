# SPDX-License-Identifier: MIT
"""A plugin of pytest for scripts/soak: the folders of a test that failed are kept."""

import shutil
import sys

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """After a failure nothing is removed any more: the run ends with it."""
    outcome = yield
    report = outcome.get_result()
    used = getattr(item, "funcargs", {})
    folders = {used[name]: None for name in ("folder", "ram_folder") if name in used}
    if report.failed and folders:
        shutil.rmtree = lambda *args, **options: None
        print("kept:", *folders, file=sys.__stderr__, flush=True)
