"""Tests that run for minutes: `make soak`. A short form of each is part of `make test`."""
