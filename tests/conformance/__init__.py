"""Other people's tests of conformance, which take minutes: `make conformance`."""
