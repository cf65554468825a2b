"""Tornado adapters: read the request's plain values, await one use case, write."""
