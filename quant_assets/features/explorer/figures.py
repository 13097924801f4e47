"""The plots of one feature as Vega-Lite specifications without data: the page's script gives each its rows when a
feature is chosen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from quant_assets.pages.charts import ACCENT, HALF, INK, SOFT, WIDE, styled

PLUS, MINUS = ACCENT, "#b4641e"  # signs of a correlation, in colours that differ for people who do not see red and
# green
SEQUENCE = ("#9db8d2", "#6d94b9", "#467199", "#24507f", "#12304f", "#0a1c30")
SPREAD_OF = ("#b4641e", "#d9a679", "#b9bec4", "#7ea0c2", "#24507f")
HEIGHT = 170


def specs(horizons: Sequence[int], buckets: int, groups: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """A specification by the name of its dataset.

    `groups`: the features to be named on the axes of the correlations, and as what.
    """
    drawn = {
        "distribution": (_distribution(), "Quantiles of the feature's values by session"),
        "coverage": (_line("coverage", "Names with a value", ".0%", [0, 1]), "Share of names with a value by session"),
        "decay": (_decay(), "Mean rank IC by horizon with its 95% interval"),
        "rolling": (_line("rolling", "Mean IC", "+.3f", None), "Rolling mean of the rank IC"),
        "cumulative": (
            _lines("cumulative", "horizon", [str(h) for h in horizons], SEQUENCE, "Σ IC", "+.1f", "Horizon, sessions"),
            "Rank IC summed over sessions, by horizon",
        ),
        "quantiles": (_quantiles(horizons), "Mean excess return of each quantile by horizon"),
        "spread": (
            _lines(
                "spread",
                "quantile",
                [*(f"Q{q + 1}" for q in range(buckets)), f"Q{buckets} − Q1"],
                (*_fan(buckets), INK),
                "Σ excess, bps",
                ",.0f",
                None,
            ),
            "Summed excess return of each quantile, and of the highest less the lowest",
        ),
        "turnover": (
            _lines("turnover", "quantile", ["lowest", "highest"], (MINUS, PLUS), "Names new", ".0%", "Quantile"),
            "Share of the outer quantiles' names that are new",
        ),
        "by_quantile": (_by_quantile(), "Turnover of each quantile"),
        "persistence": (_persistence(), "Rank autocorrelation by lag"),
        "drift": (_drift(), "Population stability index by month"),
        "others": (_others(), "The most correlated other features"),
        "correlation": (_heat(groups), "Heat map of the rank correlations of all features"),
    }
    return {name: styled(chart.properties(description=said)) for name, (chart, said) in drawn.items()}


def _fan(buckets: int) -> tuple[str, ...]:
    """Colours from the lowest to the highest quantile."""
    return tuple(SPREAD_OF[round(q * (len(SPREAD_OF) - 1) / max(buckets - 1, 1))] for q in range(buckets))


def _chart(name: str) -> Any:
    import altair as alt

    return alt.Chart(alt.NamedData(name))


def _sessions() -> Any:
    import altair as alt

    return alt.X("session:T", title=None, axis=alt.Axis(format="%b %Y", tickCount=6, grid=False, labelOverlap=True))


def _tip(field: str, title: str, form: str | None = None) -> Any:
    import altair as alt

    return alt.Tooltip(field, title=title, format=form or alt.Undefined)


def _distribution() -> Any:
    import altair as alt

    tips = [_tip("session:T", "Session"), *(_tip(f"{p}:Q", p, ".4~g") for p in ("p99", "p75", "p50", "p25", "p1"))]
    y = alt.Y("p1:Q", title="Value", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format="~g"))
    base = _chart("distribution").encode(x=_sessions(), tooltip=tips)
    outer = base.mark_area(color=ACCENT, opacity=0.14).encode(y=y, y2="p99:Q")
    inner = base.mark_area(color=ACCENT, opacity=0.26).encode(y="p25:Q", y2="p75:Q")
    return alt.layer(outer, inner, base.mark_line(color=ACCENT, strokeWidth=1.6).encode(y="p50:Q")).properties(
        width=HALF, height=HEIGHT
    )


def _line(name: str, title: str, form: str, domain: list[float] | None) -> Any:
    import altair as alt

    scale = alt.Scale(domain=domain) if domain else alt.Undefined
    tips = [_tip("session:T", "Session"), _tip("value:Q", title, form.replace(".0", ".1"))]
    base = _chart(name).encode(
        x=_sessions(),
        y=alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(format=form, tickCount=5)),
        tooltip=tips,
    )
    zero = _zero() if domain is None else None
    line = (
        base.mark_line(color=ACCENT, strokeWidth=1.6)
        if zero is not None
        else base.mark_area(color=ACCENT, opacity=0.18, line={"color": ACCENT, "strokeWidth": 1.4})
    )
    return (alt.layer(zero, line) if zero is not None else line).properties(width=HALF, height=HEIGHT)


def _zero() -> Any:
    import altair as alt

    return alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=SOFT, strokeWidth=0.8).encode(y="zero:Q")


def _lines(
    name: str, by: str, domain: Sequence[str], colours: Sequence[str], title: str, form: str, legend: str | None
) -> Any:
    import altair as alt

    key = alt.Legend(
        orient="top",
        symbolType="stroke",
        symbolStrokeWidth=3,
        title=legend,
        titleFontWeight="normal",
        titleColor=SOFT,
        titleFontSize=11,
        titleOrient="left",
        columnPadding=12,
    )
    colour = alt.Color(
        f"{by}:N",
        scale=alt.Scale(domain=list(domain), range=list(colours[: len(domain)])),
        legend=key,
        sort=list(domain),
    )
    tips = [
        _tip("session:T", "Session"),
        _tip(f"{by}:N", by.capitalize()),
        _tip("value:Q", title, form.replace(".0", ".1")),
    ]
    lines = (
        _chart(name)
        .mark_line(strokeWidth=1.5)
        .encode(
            x=_sessions(),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(format=form, tickCount=5)),
            color=colour,
            tooltip=tips,
        )
    )
    return alt.layer(_zero(), lines).properties(width=HALF, height=HEIGHT)


def _signed() -> Any:
    import altair as alt

    return alt.condition("datum.value > 0", alt.value(PLUS), alt.value(MINUS))


def _decay() -> Any:
    import altair as alt

    x = alt.X("horizon:O", title="Horizon, sessions", axis=alt.Axis(labelAngle=0, grid=False))
    tips = [
        _tip("horizon:O", "Horizon"),
        _tip("value:Q", "Mean IC", "+.4f"),
        _tip("error:Q", "Standard error", ".4f"),
        _tip("t:Q", "t", "+.2f"),
        _tip("ratio:Q", "IC ratio", "+.2f"),
        _tip("hit:Q", "Sessions above 0", ".0%"),
    ]
    base = _chart("decay").encode(x=x, tooltip=tips)
    bars = base.mark_bar(width={"band": 0.55}, opacity=0.8).encode(
        y=alt.Y("value:Q", title="Mean rank IC", axis=alt.Axis(format="+.3f", tickCount=5)), color=_signed()
    )
    return alt.layer(
        bars, base.mark_rule(color=INK, strokeWidth=1.3).encode(y="low:Q", y2="high:Q"), _zero()
    ).properties(width=HALF, height=HEIGHT)


def _quantiles(horizons: Sequence[int]) -> Any:
    import altair as alt

    domain = [str(h) for h in horizons]
    key = alt.Legend(
        orient="top",
        title="Horizon, sessions",
        titleFontWeight="normal",
        titleColor=SOFT,
        titleFontSize=11,
        titleOrient="left",
        columnPadding=12,
    )
    tips = [
        _tip("quantile:O", "Quantile"),
        _tip("horizon:N", "Horizon"),
        _tip("value:Q", "bps a session", "+.2f"),
        _tip("error:Q", "Standard error", ".2f"),
        _tip("t:Q", "t", "+.2f"),
    ]
    return (
        _chart("quantiles")
        .mark_bar()
        .encode(
            x=alt.X("quantile:O", title=None, axis=alt.Axis(labelAngle=0, grid=False)),
            xOffset=alt.XOffset("horizon:N", sort=domain),
            y=alt.Y("value:Q", title="Excess, bps a session", axis=alt.Axis(format="+.1f", tickCount=5)),
            color=alt.Color(
                "horizon:N",
                scale=alt.Scale(domain=domain, range=list(SEQUENCE[: len(domain)])),
                sort=domain,
                legend=key,
            ),
            tooltip=tips,
        )
        .properties(width=HALF, height=HEIGHT)
    )


def _by_quantile() -> Any:
    import altair as alt

    x, y = (
        alt.X("quantile:O", title=None, axis=alt.Axis(labelAngle=0, grid=False)),
        alt.Y("value:Q", title="Names new a session", axis=alt.Axis(format=".0%", tickCount=5)),
    )
    return (
        _chart("by_quantile")
        .mark_bar(width={"band": 0.55}, color=ACCENT, opacity=0.75)
        .encode(x=x, y=y, tooltip=[_tip("quantile:O", "Quantile"), _tip("value:Q", "New", ".1%")])
        .properties(width=HALF, height=HEIGHT)
    )


def _persistence() -> Any:
    import altair as alt

    tips = [
        _tip("lag:O", "Lag"),
        _tip("value:Q", "Rank autocorrelation", ".3f"),
        _tip("low:Q", "Turnover, lowest quantile", ".1%"),
        _tip("high:Q", "Turnover, highest quantile", ".1%"),
    ]
    base = _chart("persistence").encode(
        x=alt.X("lag:O", title="Lag, sessions", axis=alt.Axis(labelAngle=0, grid=False)), tooltip=tips
    )
    bars = base.mark_bar(width={"band": 0.55}, opacity=0.8).encode(
        y=alt.Y("value:Q", title="Rank autocorrelation", axis=alt.Axis(format=".2f", tickCount=5)), color=_signed()
    )
    return alt.layer(bars, _zero()).properties(width=HALF, height=HEIGHT)


def _drift() -> Any:
    import altair as alt

    tips = [
        _tip("session:T", "Sessions up to"),
        _tip("value:Q", "PSI", ".3f"),
        _tip("noise:Q", "By chance", ".4f"),
        _tip("ks:Q", "Kolmogorov–Smirnov", ".3f"),
    ]
    line = (
        _chart("drift")
        .mark_line(color=ACCENT, strokeWidth=1.4, point=alt.OverlayMarkDef(size=28, filled=True))
        .encode(x=_sessions(), y=alt.Y("value:Q", title="PSI", axis=alt.Axis(tickCount=5)), tooltip=tips)
    )
    marks = alt.Chart(alt.Data(values=[{"at": 0.1, "says": "some"}, {"at": 0.25, "says": "much"}])).encode(y="at:Q")
    rules = marks.mark_rule(color=MINUS, strokeDash=[4, 3], strokeWidth=0.9)
    words = marks.mark_text(align="right", dy=-5, color=MINUS, fontSize=10).encode(x=alt.value(HALF - 2), text="says:N")
    return alt.layer(line, rules, words).properties(width=HALF, height=HEIGHT)


def _others() -> Any:
    import altair as alt

    y = alt.Y("other:N", title=None, sort=None, axis=alt.Axis(labelLimit=150, ticks=False, domain=False))
    x = alt.X(
        "value:Q",
        title="Mean rank correlation",
        scale=alt.Scale(domain=[-1, 1]),
        axis=alt.Axis(format=".1f", tickCount=5),
    )
    tips = [_tip("other:N", "Feature"), _tip("family:N", "Family"), _tip("value:Q", "Correlation", "+.3f")]
    return (
        _chart("others")
        .mark_bar(height={"band": 0.7}, opacity=0.8)
        .encode(y=y, x=x, color=_signed(), tooltip=tips)
        .properties(width=HALF - 80, height=HEIGHT)
    )


def _heat(groups: Mapping[str, str]) -> Any:
    import altair as alt
    import msgspec

    # a map from the named features to their places; the axis itself has a place for every feature
    label = f"({msgspec.json.encode(dict(groups)).decode()})[datum.value]"
    axis: dict[str, Any] = {
        "values": list(groups),
        "labelExpr": label,
        "labelFontSize": 9,
        "ticks": False,
        "domain": False,
        "labelLimit": 90,
        "labelOverlap": False,
    }
    colour = alt.Color(
        "value:Q",
        scale=alt.Scale(domain=[-1, 0, 1], range=[MINUS, "#ffffff", PLUS], interpolate="rgb"),
        legend=alt.Legend(title=None, orient="right", gradientLength=260, format="+.1f"),
    )
    tips = [_tip("x:N", "Feature"), _tip("y:N", "and"), _tip("value:Q", "Correlation", "+.2f")]
    side = WIDE - 260
    x, y = (
        alt.X("x:N", sort=None, title=None, axis=alt.Axis(labelAngle=-90, **axis)),
        alt.Y("y:N", sort=None, title=None, axis=alt.Axis(**axis)),
    )
    return (
        _chart("correlation")
        .mark_rect(invalid="filter")
        .encode(x=x, y=y, color=colour, tooltip=tips)
        .properties(width=side, height=side)
    )
