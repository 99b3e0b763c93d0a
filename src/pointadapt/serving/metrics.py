"""What a server counts, as Prometheus reads it; of several workers, the sum of all."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as text_of
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead


class Metrics:
    """Counts and times of one server.

    Args:
        shared: the folder in which all workers count; it is in the environment as ``SHARED`` before
            this module is imported. None: this process is alone.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self.shared = shared
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": "pointadapt"}
        self.requests = Counter(
            "requests", "Files that were sent, by adapter and status.", ("adapter", "status"), **own
        )
        self.seconds = Histogram(
            "request_seconds", "From the first byte to the answer.", ("adapter",), **own
        )
        self.work = Histogram(
            "work_seconds",
            "Time of one step: receive (the upload), read, sample, group, network (a batch), "
            "label, load (an adapter), answer (from the upload's end, waiting and all of these).",
            ("step",), **own,
        )  # fmt: skip
        self.batch = Histogram(
            "batch_clouds", "Clouds that were predicted together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128), **own,
        )  # fmt: skip
        alive = {"multiprocess_mode": "livesum", **own}  # a worker that is gone does not count
        self.loaded = Gauge("loaded_adapters", "Adapters in memory.", **alive)
        self.workers = Gauge("workers", "Processes that answer.", **alive)
        self.starts = Counter("worker_starts", "Processes that began to answer so far.", **own)
        self.workers.set(1)
        self.starts.inc()

    def watch(self, what: str, amount: float) -> None:
        """Take note of a step: its seconds; clouds of a "batch"; how many are "loaded"."""
        if what == "batch":
            self.batch.observe(amount)
        elif what == "loaded":
            self.loaded.set(amount)
        else:
            self.work.labels(what).observe(amount)

    def answered(self, adapter: str, status: str, seconds: float) -> None:
        """Take note of a request."""
        self.requests.labels(adapter, status).inc()
        self.seconds.labels(adapter).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """All of it, and its content type."""
        registry = self.registry
        if self.shared is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self.shared))
        return text_of(registry), CONTENT_TYPE_LATEST


def forget(folder: Path, process: int) -> None:
    """A worker is gone: what it holds no longer counts, what it has done still does."""
    mark_process_dead(process, str(folder))
