"""Temporal workflow code: knows Temporal, touches no network."""
