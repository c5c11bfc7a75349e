"""A figure and its PNG, for the plots of pipelines and training alike. matplotlib is imported when one is drawn.

Colours are Okabe and Ito's (2008), which people with any common form of colour blindness tell apart.
"""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
SKY, YELLOW, PURPLE = "#56B4E9", "#F0E442", "#CC79A7"
_DPI = 110


def canvas(width: float, height: float) -> tuple["Figure", Any]:
    """A figure in inches that belongs to no global state: reports may be drawn in several threads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes: Any = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: "Figure") -> bytes:
    """`figure` as PNG: the same numbers give the same bytes with any matplotlib of one minor version."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # no software version inside
    return buffer.getvalue()
