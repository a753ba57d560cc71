"""Rules about errors and attempts that the machine, the activities and the validator share."""

from __future__ import annotations

from orchestrator.definition.compiled import RetryRule

LAST_ATTEMPT_SECONDS = 1.0
"""What a delay that somebody asks for leaves of schedule-to-close."""


def matches_error(code: str, pattern: str) -> bool:
    """Say whether an error's type is meant by one entry of `errors` or `non_retryable_errors`.

    `*` means every failure but a cancellation; `http-4xx` and `http-5xx` mean the classes of HTTP statuses.
    """
    if pattern == code:
        return True
    if pattern == "*":
        return code != "cancelled"
    if pattern in ("http-4xx", "http-5xx"):
        return len(code) == 8 and code.startswith(f"http-{pattern[5]}") and code[6:].isdigit()
    return False


def backoff_seconds(rule: RetryRule, attempt: int) -> float:
    """Return the pause after a failed attempt, by Temporal's formula.

    Args:
        rule: the policy.
        attempt: how many attempts there were, from 1.
    """
    exponent = min(attempt - 1, 64)
    return min(rule.initial_interval * rule.backoff**exponent, max(rule.max_interval, rule.initial_interval))


def delay_in_time(delay: float, left: float) -> float:
    """Return a delay that somebody asked for, cut so that one more attempt fits before schedule-to-close.

    Args:
        delay: seconds.
        left: seconds until schedule-to-close; where there is no time for another attempt, Temporal shall see it.
    """
    return delay if left <= LAST_ATTEMPT_SECONDS else min(delay, left - LAST_ATTEMPT_SECONDS)
