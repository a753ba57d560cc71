"""What a workflow definition may say: models, validation, canonical form and hash, JSON Schema. Pure code."""
