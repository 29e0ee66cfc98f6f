"""The figures that csync wants to reach, beside what was measured."""


def ratio(results, key, label, reference, field):
    one, other = results.get(key, {}).get(label), results.get(key, {}).get(reference)
    if not one or not other or not other[field]:
        return None
    return one[field] / other[field]


def value(results, key, label, field):
    one = results.get(key, {}).get(label)
    return one and one[field]


def print_figures(results):
    rows = []
    for n in (10_000, 100_000):
        rows += [
            (f"{n} x true: CPU / spawn limit", 1.15, ratio(results, f"true/{n}", "csync", "spawn limit", "cpu")),
            (f"{n} x true: wall / HyperQueue", 0.5, ratio(results, f"true/{n}", "csync", "hyperqueue", "wall")),
            (f"{n} x bash -c true: CPU / spawn limit", 1.15, ratio(results, f"bash/{n}", "csync", "spawn limit", "cpu")),
        ]
    rows += [
        ("100000 x true: peak MB", 100, value(results, "true/100000", "csync", "peak_mb")),
        ("chain of 500: wall / ninja", 1.5, ratio(results, "chain/500", "csync", "ninja", "wall")),
        ("layers 10 x 1000, dry-run: CPU / ninja", 2, ratio(results, "layers/1000", "csync", "ninja", "cpu")),
        ("layers 10 x 10000, dry-run: CPU / ninja", 2, ratio(results, "layers/10000", "csync", "ninja", "cpu")),
        ("layers 10 x 10000, dry-run: MB / ninja", 1.5, ratio(results, "layers/10000", "csync", "ninja", "peak_mb")),
        ("1000000 instances: CPU s", 15, value(results, "expand/1000000", "csync check", "cpu")),
        ("1000000 instances: peak MB", 1500, value(results, "expand/1000000", "csync check", "peak_mb")),
        ("10000 up to date: CPU / ninja", 3, ratio(results, "again/10000", "csync", "ninja", "cpu")),
        ("10000 up to date, engine up: CPU / ninja", 3, ratio(results, "again/10000", "csync, engine up", "ninja", "cpu")),
    ]
    for n in (30, 200):
        rows += [
            ("csync --version: wall / bash -c true", 4, ratio(results, f"latency/{n}", "csync --version", "bash -c true", "wall")),
            ("csync status: wall / bash -c true", 10, ratio(results, f"latency/{n}", "csync status", "bash -c true", "wall")),
        ]
    rows = [row for row in rows if row[2] is not None]
    if not rows:
        return
    print(f"\nFigures to reach\n  {'':46}{'at most':>10}{'measured':>10}")
    for what, bound, measured in rows:
        print(f"  {what:46}{bound:>10}{measured:>10.2f}{'' if measured <= bound else '   not reached'}")
