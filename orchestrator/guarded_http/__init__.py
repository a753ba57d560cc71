"""HTTP to hosts that definitions, agents and requests name: checked addresses, bounded answers."""

from orchestrator.guarded_http.client import Answer, GuardedHttp
from orchestrator.guarded_http.rules import AllowList, check_url
from orchestrator.guarded_http.transport import GuardedTransport

__all__ = ["AllowList", "Answer", "GuardedHttp", "GuardedTransport", "check_url"]
