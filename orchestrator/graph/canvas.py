"""A page of characters on which lines and boxes are drawn."""

from typing import Final, Literal

from rich.cells import cell_len

__all__ = ["Canvas", "Style"]

Style = Literal["solid", "dashed", "double"]

_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8
_UPRIGHT: Final = _UP | _DOWN
_LEVEL: Final = _LEFT | _RIGHT
_LINES: Final[dict[Style, str]] = {  # by the directions in which a line leaves a cell, as bits
    "solid": " ╵╶└╷│┌├╴┘─┴┐┤┬┼",
    "dashed": " ╵╶└╷╎┌├╴┘╌┴┐┤┬┼",
    "double": " ║═╚║║╔╠═╝═╩╗╣╦╬",
}
_ASCII_LINES: Final[dict[Style, str]] = {
    "solid": " |-+||++-+-+++++",
    "dashed": " :.+::++.+.+++++",
    "double": " #=##############"[:16],
}
_OUT: Final[dict[Style, str]] = {"solid": "┬", "dashed": "┬", "double": "╤"}


class Canvas:
    """Cells by row and column. Lines that belong to the same net join; lines of different nets cross."""

    def __init__(self, *, ascii_only: bool) -> None:
        self._rows: list[dict[int, str]] = []
        self._nets: dict[tuple[int, int], tuple[str, int]] = {}
        self._ascii = ascii_only
        self._lines = _ASCII_LINES if ascii_only else _LINES

    def put(self, row: int, column: int, text: str) -> None:
        """Write text from a cell on; a wide character takes two cells."""
        cells = self._row(row)
        for char in text:
            width = cell_len(char)
            if width:
                cells[column] = char
                cells.update((column + i, "") for i in range(1, width))
            elif column - 1 in cells:
                cells[column - 1] += char
            column += width

    def box(self, row: int, column: int, size: tuple[int, int], style: Style) -> None:
        """A frame of (width, height) cells whose top left corner is at the cell."""
        width, height = size
        line = self._lines[style]
        across = line[_LEVEL] * (width - 2)
        self._raw(row, column, line[_RIGHT | _DOWN] + across + line[_LEFT | _DOWN])
        for i in range(1, height - 1):
            self._raw(row + i, column, line[_UPRIGHT])
            self._raw(row + i, column + width - 1, line[_UPRIGHT])
        self._raw(row + height - 1, column, line[_RIGHT | _UP] + across + line[_LEFT | _UP])

    def leave(self, row: int, column: int, style: Style) -> None:
        """Where a line leaves a box through its lower edge."""
        self._raw(row, column, "+" if self._ascii else _OUT[style])

    def arrow(self, row: int, column: int) -> None:
        """The point of an arrow that leads down."""
        self._raw(row, column, "v" if self._ascii else "▼")

    def rule(self, row: int, width: int, label: str) -> None:
        """A line across everything, under what crosses it, and what it means."""
        for column in range(width):
            crossed = (row, column) in self._nets
            self._raw(
                row, column, self._lines["solid" if crossed else "double"][_UPRIGHT if crossed else _LEVEL]
            )
        self.put(row, width + 1, label)

    def down(self, net: str, column: int, top: int, bottom: int, style: Style) -> None:
        """A line from the upper edge of row `top` to the lower edge of row `bottom`."""
        for row in range(top, bottom + 1):
            self._join(net, row, column, _UPRIGHT, style)

    def across(self, net: str, row: int, ends: dict[int, int], style: Style) -> None:
        """A line along a row; `ends` maps each column where it turns to the ways it leads: up 1, down 4."""
        left, right = min(ends), max(ends)
        for column in range(left, right + 1):
            mask = ends.get(column, 0)
            mask |= (_LEFT if column > left else 0) | (_RIGHT if column < right else 0)
            self._join(net, row, column, mask, style)

    def text(self) -> str:
        """The page; no line ends with spaces."""
        lines = []
        for cells in self._rows:
            end = max(cells, default=-1) + 1
            lines.append("".join(cells.get(column, " ") for column in range(end)).rstrip())
        return "\n".join(lines)

    def _join(self, net: str, row: int, column: int, mask: int, style: Style) -> None:
        owner, before = self._nets.get((row, column), (net, 0))
        if owner != net:
            mask = _UPRIGHT  # the line that leads down stays whole, the other passes under it
        else:
            mask |= before
        self._nets[row, column] = (owner, mask)
        self._raw(row, column, self._lines[style][mask])

    def _raw(self, row: int, column: int, text: str) -> None:
        cells = self._row(row)
        cells.update(enumerate(text, column))

    def _row(self, row: int) -> dict[int, str]:
        while len(self._rows) <= row:
            self._rows.append({})
        return self._rows[row]
