"""What is counted of pages, leases and the store that workers and machines share."""

from aims_server.metrics import Metrics

from ..counted import read


def test_each_event_moves_its_own_series():
    """Look-ups, waits, leases with their bytes, calls, refusals, limits."""
    metrics = Metrics()
    sharing = metrics.sharing
    sharing.shared_lookup("machine", "busy")
    sharing.shared_wait(0.3)
    sharing.lease_ended("machine", "kept")
    sharing.lease_ended("machine", "kept")
    sharing.lease_ended("store", "void")
    sharing.page_put("machine", 1000)
    sharing.page_put("machine", 24)
    sharing.store_called("timeout", 0.25)
    sharing.store_changed("open")
    sharing.store_unopened()
    sharing.dropped("elsewhere")
    sharing.drops_waiting(7)
    sharing.limits_synced(3)
    moved = {
        'aims_shared_lookups_total{found="busy",level="machine"}': 1,
        "aims_shared_wait_seconds_sum": 0.3,
        'aims_leases_total{end="kept",level="machine"}': 2,
        'aims_leases_total{end="void",level="store"}': 1,
        'aims_shared_bytes_total{level="machine"}': 1024,
        'aims_shared_bytes_total{level="store"}': 0,
        'aims_store_calls_total{outcome="timeout"}': 1,
        'aims_store_call_seconds_bucket{le="0.25"}': 1,
        'aims_store_state{worker="0"}': 2,
        "aims_store_unopened_total": 1,
        'aims_drops_total{from="elsewhere"}': 1,
        "aims_drops_waiting": 7,
        "aims_limits_synced_keys_total": 3,
    }
    samples = read(metrics)
    assert {name: samples[name] for name in moved} == moved
