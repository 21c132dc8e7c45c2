# SPDX-License-Identifier: MIT
"""A plugin of pytest for scripts/soak: the folder of a test that failed is kept."""

import shutil
import sys

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """After a failure nothing is removed any more: the run ends with it."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "folder" in getattr(item, "funcargs", {}):
        shutil.rmtree = lambda *args, **options: None
        print(f"kept: {item.funcargs['folder']}", file=sys.__stderr__, flush=True)
