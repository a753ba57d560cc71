"""What Temporal says of an attempt that failed, in our shape."""

from __future__ import annotations

from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure, ServerFailureInfo, TimeoutFailureInfo

from api.pending_activities import failure_info


def test_a_failure_that_temporal_wrapped_for_its_size_is_told_as_it_was() -> None:
    ours = Failure(message="the far end is busy", application_failure_info=ApplicationFailureInfo(type="http-503"))
    wrapped = Failure(message="Failure exceeds size limit.", server_failure_info=ServerFailureInfo(), cause=ours)
    for failure in (ours, wrapped):
        found = failure_info(failure)
        assert (found.type, found.message) == ("http-503", "the far end is busy")


def test_a_time_out_is_a_time_out_and_anything_else_of_temporals_an_internal_error() -> None:
    assert failure_info(Failure(message="late", timeout_failure_info=TimeoutFailureInfo())).type == "timeout"
    assert failure_info(Failure(message="odd", server_failure_info=ServerFailureInfo())).type == "internal-error"
