"""Checks that stages share: pure functions from measurements to a verdict."""
