"""The operations, one module per kind of resource."""
