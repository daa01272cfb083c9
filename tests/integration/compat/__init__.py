"""The master and its workers, as processes."""
