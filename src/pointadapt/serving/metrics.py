"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as text_of


class Metrics:
    """Counts and times of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": "pointadapt"}
        self.requests = Counter(
            "requests", "Files that were sent, by adapter and status.", ("adapter", "status"), **own
        )
        self.seconds = Histogram(
            "request_seconds", "From the first byte to the answer.", ("adapter",), **own
        )
        self.work = Histogram(
            "work_seconds", "Time of one step: read, predict (a batch), label.", ("step",), **own
        )
        self.batch = Histogram(
            "batch_clouds", "Clouds that were predicted together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128), **own,
        )  # fmt: skip
        self.loaded = Gauge("loaded_adapters", "Adapters in memory.", **own)

    def watch(self, what: str, amount: float) -> None:
        """Take note of a step: its seconds, or of a "batch" its clouds."""
        if what == "batch":
            self.batch.observe(amount)
        else:
            self.work.labels(what).observe(amount)

    def answered(self, adapter: str, status: str, seconds: float) -> None:
        """Take note of a request."""
        self.requests.labels(adapter, status).inc()
        self.seconds.labels(adapter).observe(seconds)

    def text(self, loaded: int) -> tuple[bytes, str]:
        """All of it, and its content type; ``loaded`` is how many adapters are in memory."""
        self.loaded.set(loaded)
        return text_of(self.registry), CONTENT_TYPE_LATEST
