"""What a vendor answered, kept on disk: page by page while a request runs, as one file when it is whole.

A run that was interrupted finds its finished pages again; a request that is whole is never asked again. The folder is
the vendor's own word, to which the `file` and `line` of a stored row lead back: keep it with the tables. Whoever wants
a request to be asked again deletes its file.
"""

import re
from pathlib import Path

import polars as pl

from quant_assets.durable import make, put
from quant_assets.records import DEVICES, content_id

_MARKS = str.maketrans({"/": "-", ":": "_", " ": ".", "\\": "-"})
_PLAIN = re.compile(f"(?!({DEVICES})([.]|$))[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,63}}(?<![.])")


class Pages:
    """Frames by the name of their request, as `binance/BTC-USDT/1m/2024-05-01`, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def whole(self, name: str) -> pl.DataFrame | None:
        """All rows of a request that was finished, else None."""
        path = self.folder / f"{name}.parquet"
        return pl.read_parquet(path) if path.exists() else None

    def has(self, name: str) -> bool:
        """Whether the request was finished."""
        return (self.folder / f"{name}.parquet").exists()

    def pages(self, name: str) -> list[pl.DataFrame]:
        """The pages kept of a request that is not finished, in their order, up to the first that a dying machine left
        torn.
        """
        found: list[pl.DataFrame] = []
        for path in sorted(self._unfinished(name).glob("*.parquet")):
            try:
                found.append(pl.read_parquet(path))
            except (pl.exceptions.PolarsError, OSError):
                break
        return found

    def keep(self, name: str, number: int, page: pl.DataFrame) -> None:
        """Keep page `number` (from 0) of a request."""
        _write(page, self._unfinished(name) / f"{number:06}.parquet", lasting=False)

    def finish(self, name: str, rows: pl.DataFrame) -> None:
        """The request is whole: keep `rows` as its answer instead of its pages."""
        _write(rows, self.folder / f"{name}.parquet", lasting=True)
        for path in self._unfinished(name).glob("*"):
            path.unlink()
        if self._unfinished(name).is_dir():
            self._unfinished(name).rmdir()

    def below(self, name: str) -> list[str]:
        """The last parts of the names of finished requests directly below `name`, sorted."""
        return sorted(p.name.removesuffix(".parquet") for p in (self.folder / name).glob("*.parquet"))

    def _unfinished(self, name: str) -> Path:
        return self.folder / f"{name}.pages"


def plain(symbol: str) -> str:
    """A symbol as part of a request's name: BTC-USDT for BTC/USDT, BTC-USDT_USDT for BTC/USDT:USDT, BRK.B for BRK B.

    A symbol of which that makes no name of a file (other scripts, too long, `..`), or the name of a device of Windows,
    has a hash of it in its name.
    """
    name = symbol.translate(_MARKS)
    if _PLAIN.fullmatch(name):
        return name
    return f"{re.sub('[^A-Za-z0-9_-]', '', name)[:40]}~{content_id(symbol, length=12)}"


def _write(frame: pl.DataFrame, path: Path, *, lasting: bool) -> None:
    """Whole or not at all; where it is `lasting`, also when the machine loses its power."""
    make(path.parent)
    partial = path.with_suffix(".partial")
    frame.write_parquet(partial, compression="zstd")
    if lasting:
        put(partial, path)
    else:
        partial.replace(path)
