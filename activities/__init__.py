"""Side effects: one module per kind of activity."""
