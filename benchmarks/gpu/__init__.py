"""A GPU machine that is rented by the minute: what is asked of it, the most valuable first (docs/gpu.md)."""
