"""The claim store: values over 128 KiB are kept outside the history, which carries references to them."""

from orchestrator.stores.claims.driver import ClaimDriver as ClaimDriver
from orchestrator.stores.claims.driver import claimed_input_bytes as claimed_input_bytes
from orchestrator.stores.claims.envelopes import fetch_envelope as fetch_envelope
from orchestrator.stores.claims.envelopes import keep_envelope as keep_envelope
from orchestrator.stores.claims.keeping import ClaimKeeper as ClaimKeeper
from orchestrator.stores.claims.port import ClaimStore as ClaimStore
from orchestrator.stores.claims.resolving import resolved as resolved
from orchestrator.stores.claims.wiring import claim_driver as claim_driver
from orchestrator.stores.claims.wiring import claim_errors as claim_errors
from orchestrator.stores.claims.wiring import claims_problem as claims_problem
from orchestrator.stores.claims.wiring import keep_ahead as keep_ahead
from orchestrator.stores.claims.wiring import too_large as too_large
from orchestrator.stores.claims.wiring import with_claims as with_claims
