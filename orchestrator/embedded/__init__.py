"""The parts of the local stack that run on one machine without a container: processes that we own."""
