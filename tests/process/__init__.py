"""Tests of the real command: real processes, real signals, real sockets."""
