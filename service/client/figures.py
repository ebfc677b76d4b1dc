"""A figure that notebooks show by itself. Needs matplotlib."""

from io import BytesIO

from matplotlib.figure import Figure

DPI = 110  # of the picture in a notebook


class NotebookFigure(Figure):
    """A figure that the last line of a cell shows, whether or not pyplot was imported before."""

    def _repr_png_(self) -> bytes:
        """Return the picture, which IPython asks for."""
        drawn = BytesIO()
        self.savefig(drawn, format="png", dpi=DPI)
        return drawn.getvalue()
