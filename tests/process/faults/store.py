"""Faults of the store that machines share."""

from .bench import Bench, Provoke

NO_STORE = {
    "STORE_URL": "redis://aims:canary@127.0.0.1:9/0",
    "STORE_SECRET": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}


def store_gone(words: str) -> Provoke:
    """Nobody listens where the store should be."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.start(**NO_STORE)
        return bench.told_in(service, words)

    return provoke


FAULTS: dict[str, Provoke] = {
    "it cannot be reached": store_gone("The store at"),
    "other machines' refusals are not known": store_gone("Tokens refused on"),
}
