"""What is measured: names, sizes, and the shapes that all tools share."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
    """One kind of work. `reference` is the label that ratios are relative to."""

    name: str
    title: str
    reference: str
    quick: tuple
    usual: tuple
    full: tuple
    slow_from: int = 10_000

    def sizes(self, quick, full):
        return self.quick if quick else self.full if full else self.usual

    def repetitions(self, size):
        return 3 if size >= self.slow_from else 7


ALL = [
    Workload("latency", "One short command, {n} times each", "bash -c true", (30,), (200,), (200,)),
    Workload("true", "{n} x true, no shell", "spawn limit", (1_000,), (10_000,), (10_000, 100_000), 1_000),
    Workload("bash", "{n} x bash -c true", "spawn limit", (1_000,), (10_000,), (10_000, 100_000), 1_000),
    Workload("chain", "Chain of {n} x true", "ninja", (100,), (500,), (500,), 500),
    Workload("layers", "Layers 10 x {n} of file tasks, dry-run", "ninja", (100,), (100, 1_000, 10_000), (100, 1_000, 10_000)),
    Workload("again", "{n} tasks with files, all up to date", "ninja", (100,), (100, 10_000), (100, 1_000, 10_000)),
    Workload("expand", "{n} instances expanded, checked, put in order", "csync check", (10_000,), (1_000_000,), (1_000_000,)),
]


def layers(width):
    """Yields (name, names of what it reads) of 10 layers; each task reads two or three files of the layer before."""
    for depth in range(10):
        for i in range(width):
            reads = []
            if depth:
                ways = (0, 1) if i % 2 else (0, 1, 7)
                reads = sorted({f"f{depth - 1}_{(i + way) % width}" for way in ways})
            yield f"f{depth}_{i}", reads
