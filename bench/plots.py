"""Plots of a run as SVG, for a page; drawn by matplotlib, and without them if that is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from report import Plot

SIZE_INCHES = (7.0, 4.2)


def draw(plots: list[Plot], folder: Path) -> bool:
    """Writes a file for each plot; the same figures give the same bytes.

    Returns:
        Whether matplotlib is here to do it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "ferry", "svg.fonttype": "none", "font.size": 9}):
        for plot in plots:
            figure = Figure(SIZE_INCHES, layout="constrained")
            axes = figure.add_subplot(xscale="log", yscale="log", xlabel=plot.x, ylabel=plot.y, title=plot.title)
            for label, points in plot.curves.items():
                thick = label.startswith("Ferry")
                axes.plot(
                    *zip(*points, strict=True), marker="o", markersize=3, label=label, linewidth=2 if thick else 1
                )
            axes.grid(which="major", alpha=0.3)
            figure.legend(loc="outside right upper", frameon=False)
            figure.savefig(folder / f"{plot.name}.svg", format="svg", metadata={"Date": None})
    return True
