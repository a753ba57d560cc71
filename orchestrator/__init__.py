"""Durable orchestration of AI-agent workflows on Temporal."""
