"""Activities without a worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from temporalio.testing import ActivityEnvironment


def activity_environment(seconds: float = 60) -> ActivityEnvironment:
    """Return an environment whose attempts may take so long; the SDK's own gives them one second."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, start_to_close_timeout=timedelta(seconds=seconds))
    return environment
