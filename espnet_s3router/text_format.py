"""Durations and large numbers as people read them."""


def clock(seconds: float) -> str:
    """Format a duration for a line of progress: 75.2 -> ``1m15s``, 7260 -> ``2h01m``."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}m{whole % 60:02d}s"


def duration(seconds: float) -> str:
    """Format a duration for a page: 75.2 -> ``1 min 15 s``, 7260 -> ``2 h 01 min``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def scaled(number: float) -> str:
    """Format a number with three figures and a prefix for powers of 1000, ready for a unit: 94371840 -> ``94.4 M``."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + f" {prefix}"
    return f"{number:g} "
