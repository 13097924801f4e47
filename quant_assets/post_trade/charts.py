"""The plots of the range report as Vega-Lite specifications, drawn by one script that the page carries."""

from typing import Any

import polars as pl

from quant_assets.pages.charts import ACCENT, GAIN, HALF, INK, LOSS, WIDE, styled
from quant_assets.post_trade import sections
from quant_assets.post_trade.performance import BPS
from quant_assets.post_trade.sections import Facts

BARS = 15


def specs(facts: Facts, line: pl.DataFrame, ic: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """A specification by name: equity, exposure, turnover, costs, names, sectors, ic; those without rows are left
    out.
    """
    costs = _costs_by_session(facts)
    best, worst, by_sector = sections.pnl(facts, BARS)
    drawn = {
        "equity": _equity(line),
        "exposure": _exposure(line),
        "turnover": _columns(line, "turnover", "Turnover", ".0%"),
        "costs": _columns(costs, "bps", "bps", ".0f", height=190) if costs.height else None,
        "names": _bars([*best, *worst], "symbol") if best or worst else None,
        "sectors": _bars(by_sector, "sector") if by_sector else None,
        "ic": _ic(ic) if ic.height > 1 else None,
    }
    return {name: styled(chart) for name, chart in drawn.items() if chart is not None}


def _costs_by_session(facts: Facts) -> pl.DataFrame:
    by = (
        facts.costs.group_by("session")
        .agg(shortfall=pl.col("shortfall").sum().cast(pl.Float64), value=sections.filled_value().sum())
        .sort("session")
    )
    return by.filter(pl.col("value") > 0).with_columns(bps=pl.col("shortfall") / pl.col("value") * BPS)


def _data(frame: pl.DataFrame) -> Any:
    """Rows inline; sessions as local midnights, so that no browser moves them to the day before."""
    import altair as alt

    return alt.Data(values=frame.with_columns(session=pl.col("session").dt.strftime("%Y-%m-%dT00:00:00")).to_dicts())


def _sessions(*, labels: bool = True) -> Any:
    import altair as alt

    return alt.X("session:T", title=None, axis=alt.Axis(format="%-d %b", tickCount=8, grid=False, labels=labels))


def _equity(line: pl.DataFrame) -> Any:
    import altair as alt

    tips = [
        alt.Tooltip("session:T", title="Session"),
        alt.Tooltip("equity:Q", title="Equity", format=",.0f"),
        alt.Tooltip("drawdown:Q", title="Drawdown", format=".2%"),
    ]
    base = alt.Chart(_data(line)).encode(x=_sessions(), tooltip=tips)
    top = base.mark_line(color=ACCENT, strokeWidth=1.8, point=alt.OverlayMarkDef(opacity=0, size=60)).encode(
        y=alt.Y("equity:Q", title="Equity", scale=alt.Scale(zero=False), axis=alt.Axis(format=",.0f"))
    )
    low = base.mark_area(color=LOSS, opacity=0.28, line={"color": LOSS, "strokeWidth": 1}).encode(
        y=alt.Y("drawdown:Q", title="Drawdown", axis=alt.Axis(format=".1%", tickCount=4))
    )
    return alt.vconcat(
        top.properties(width=WIDE - 80, height=230), low.properties(width=WIDE - 80, height=90), spacing=8
    )


def _exposure(line: pl.DataFrame) -> Any:
    import altair as alt

    names = (
        {"gross": "Gross = net, long only"} if line["gross"].equals(line["net"]) else {"gross": "Gross", "net": "Net"}
    )
    long = line.select("session", *names).rename(names).unpivot(index="session", variable_name="of", value_name="share")
    colour = alt.Color(
        "of:N",
        title=None,
        scale=alt.Scale(domain=list(names.values()), range=[ACCENT, GAIN]),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3),
    )
    tips = [
        alt.Tooltip("session:T", title="Session"),
        alt.Tooltip("of:N", title="Exposure"),
        alt.Tooltip("share:Q", title="Of equity", format=".1%"),
    ]
    chart = (
        alt.Chart(_data(long))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=_sessions(),
            y=alt.Y("share:Q", title="Exposure, of equity", axis=alt.Axis(format=".0%", tickCount=5)),
            color=colour,
            tooltip=tips,
        )
    )
    return chart.properties(width=HALF, height=170)


def _columns(frame: pl.DataFrame, column: str, title: str, form: str, height: int = 190) -> Any:
    import altair as alt

    tips = [
        alt.Tooltip("session:T", title="Session"),
        alt.Tooltip(f"{column}:Q", title=title, format=form.replace("0", "1")),
    ]
    wide = max(1.5, min(14.0, 0.7 * HALF / max(1, frame.height)))
    chart = (
        alt.Chart(_data(frame.select("session", column)))
        .mark_bar(size=wide, color=ACCENT, opacity=0.75)
        .encode(
            x=_sessions(), y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format=form, tickCount=5)), tooltip=tips
        )
    )
    return chart.properties(width=HALF, height=height)


def _bars(rows: list[sections.Row], label: str) -> Any:
    import altair as alt

    values = [{"label": r[label], "total": float(r["total"])} for r in rows]
    colour = alt.condition("datum.total > 0", alt.value(GAIN), alt.value(LOSS))
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=150, ticks=False, domain=False))
    tips = [alt.Tooltip("label:N", title=label.capitalize()), alt.Tooltip("total:Q", title="P&L", format="+,.0f")]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar(height={"band": 0.72})
        .encode(
            y=y, x=alt.X("total:Q", title="P&L", axis=alt.Axis(format="~s", tickCount=5)), color=colour, tooltip=tips
        )
    )
    return chart.properties(width=HALF - 80, height=alt.Step(17 if label == "symbol" else 24))


def _ic(ic: pl.DataFrame) -> Any:
    import altair as alt

    frame = ic.sort("session").with_columns(so_far=pl.col("ic").cum_sum() / pl.int_range(1, pl.len() + 1))
    base = alt.Chart(_data(frame)).encode(
        x=_sessions(),
        tooltip=[
            alt.Tooltip("session:T", title="Session"),
            alt.Tooltip("ic:Q", title="IC", format="+.3f"),
            alt.Tooltip("so_far:Q", title="Mean so far", format="+.4f"),
        ],
    )
    wide = max(1.5, min(14.0, 0.7 * WIDE / max(1, frame.height)))
    columns = base.mark_bar(size=wide, opacity=0.55).encode(
        y=alt.Y("ic:Q", title="IC", axis=alt.Axis(format="+.2f", tickCount=5)),
        color=alt.condition("datum.ic > 0", alt.value(GAIN), alt.value(LOSS)),
    )
    return alt.layer(columns, base.mark_line(color=INK, strokeWidth=1.6).encode(y="so_far:Q")).properties(
        width=WIDE - 80, height=170
    )
