"""What the plots of all pages share: colours, sizes, type, and the script that draws them."""

from functools import cache
from typing import Any

GAIN, LOSS, INK, ACCENT, SOFT, LINE = "#2f8f68", "#c8503f", "#17202a", "#24507f", "#5b6673", "#e4e2dc"
_FONT = "Inter, Segoe UI, system-ui, Helvetica Neue, Arial, sans-serif"
_EXPOSED = "window.vegaEmbed = vegaEmbed;"
WIDE, HALF = 1000, 452


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    import altair as alt
    import vl_convert
    from markupsafe import Markup

    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    # the bundle of an installed library, none of our data in it
    return Markup(vl_convert.javascript_bundle(_EXPOSED, vl_version=version).replace("</script", "<\\/script"))  # noqa: S704


def styled(chart: Any) -> dict[str, Any]:
    """The specification with the page's type and colours."""
    axis = {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "titleFontSize": 11,
        "labelFontSize": 11,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
    }
    return (
        chart.configure(font=_FONT, background="#ffffff")
        .configure_axis(**axis)
        .configure_view(stroke=None)
        .configure_legend(labelColor=SOFT, labelFontSize=11)
        .to_dict()
    )
