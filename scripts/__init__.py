"""Scripts for people and CI."""
