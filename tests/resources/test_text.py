"""Text files of vendors as rows with their place."""

import csv
import io

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.sources.reading.splitting import delimited


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), max_size=6), min_size=2, max_size=3
        ).filter(lambda cells: any(c.strip() for c in cells)),
        max_size=12,
    )
)
def test_what_a_vendor_writes_is_read_back(rows: list[list[str]]) -> None:
    """Cells with commas, quotes and line breaks come back as they were written, a record of another length whole in its
    place; none is dropped and lines ascend.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["a", "b"], *rows])
    found = pl.concat(delimited(io.StringIO(out.getvalue())))
    assert found["#line"].is_sorted(descending=False)
    assert found.height == len(rows)
    for cells, (a, b, _, fault, content) in zip(rows, found.iter_rows(), strict=True):
        assert (
            ((a, b), fault) == (tuple(cells), None)
            if len(cells) == 2
            else (a, b, next(csv.reader(io.StringIO(content)))) == (None, None, cells)
        )
