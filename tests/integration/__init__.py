"""Tests against the real command on real sockets."""
