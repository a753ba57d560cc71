"""The bounds of language version 1, each with its own error code, and its built-in policies."""

from __future__ import annotations

LANGUAGE_VERSION = 1
DOCUMENT_BYTES = 1024 * 1024
STEPS = 5_000
NESTING = 32
STEP_ID_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
SECRET_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
TAKEN_NAMES = frozenset(
    (
        "input",
        "vars",
        "steps",
        "run",
        "secrets",
        "index",
        "loop",
        "result",
        "error",
        "true",
        "false",
        "null",
        "in",
        "not",
    )
)
"""Words of expressions that no `as` may take."""
WORKFLOW_ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
ID_CHARACTERS = {STEP_ID_PATTERN: 64, WORKFLOW_ID_PATTERN: 63}
"""Longest ids, by their pattern."""
MAX_PARALLEL_STEPS = 500
"""Activities in flight per execution; Temporal refuses more than 2,000 pending ones by failing the workflow task."""
LIVE_BYTES = 64 * 1024 * 1024
"""Outputs of steps and variables of one execution, as JSON."""
COLLECTED_BYTES = 10 * 1024 * 1024
"""What one block, or the execution, collects from its steps."""
CHILDREN_IN_FLIGHT = 500
"""Awaited children per execution, beside the activities: Temporal's bound is the same."""
LONGEST_SECONDS = 315_360_000
"""Ten years: Temporal timers and timeouts beyond that are mistakes."""

MAX_ATTEMPTS = 5
INITIAL_INTERVAL_SECONDS = 1.0
BACKOFF_COEFFICIENT = 2.0
MAX_INTERVAL_SECONDS = 60.0

START_TO_CLOSE_SECONDS = 60.0
MODEL_START_TO_CLOSE_SECONDS = 300.0
ACTIVITY_START_TO_CLOSE_SECONDS = 600.0
SCHEDULE_TO_CLOSE_SECONDS = 86_400.0
HEARTBEAT_SECONDS = 10.0

CLEANUP_SECONDS = 3_600.0
SIGNALS_BUFFERED = 1_000
CHILD_DEPTH = 16
SESSION_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"
SESSION_ID_WORDS = "1 to 128 letters, digits and '.', '_', ':', '@', '-', beginning with a letter or a digit"
TURNS = 10
"""Model answers of an agent that says nothing about `max_turns`."""
MOST_TURNS = 100
MOST_PLACES = 1_000
"""Largest `concurrency.max`."""
TAGS_BYTES = 2_048
"""All tags of an execution together: Temporal's limit for the value of one search attribute."""
SUGGESTIONS = 100_000
"""Names compared in one validation to find what was meant: half a second."""
