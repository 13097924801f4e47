"""The small desk of the post-trade tests."""

from tests.post_trade.conftest import book, cuts, desk, store

__all__ = ["book", "cuts", "desk", "store"]
