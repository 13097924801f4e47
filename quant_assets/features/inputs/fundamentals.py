"""A company's figures from its filings, as known at each session's cut."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.inputs.members import by_knowledge, listings_of, members
from quant_assets.features.sets import Input
from quant_assets.market_data.adjustment import SPLITS
from quant_assets.market_data.securities import canonical, resolve
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS
from quant_assets.vendor_tables import FILINGS

INCOME, EPS, EQUITY, ASSETS, CASH_FLOW = ITEMS = ("net_income", "eps_diluted", "equity", "assets", "cash_flow_op")
"""The items of FILINGS that are read. `eps_diluted` is currency per share, the others currency."""

ANNUAL, QUARTERS = "FY", ("Q1", "Q2", "Q3")
TOO_OLD = timedelta(days=450)  # a period's end this long before the session: the next annual report is long overdue
NEAR, FAR = (
    timedelta(days=45),
    timedelta(days=330),
)  # the first three quarters of a fiscal year end so long after the year before, and before its own end
SMALLEST_EPS = 0.10  # rounded to a cent, a smaller one gives the number of shares to worse than 5%

COLUMNS = ("shares", "book", "earnings", "leverage", "accruals")
_ENDS = {c: f"end of {c}" for c in COLUMNS}  # of the period that a value is of
_OF = ["sid", "learnt"]


def fundamentals(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
    """session, sid and `COLUMNS` of each member, from the filings known at the session's cut; null where none says it
    of a period that ended in the 450 days before.

    shares: net income / diluted EPS of the latest report whose EPS is 0.10 or more either way, in shares of the
    session: a weighted average over the report's period, where a vendor gives no count of shares outstanding. book:
    shareholders' equity of the latest balance sheet, currency. earnings: net income, currency, of the trailing four
    quarters where the year and each quarter are there (annual + quarters since − the same ones a year before),
    elsewhere of the last fiscal year. leverage: 1 − equity / assets of the latest balance sheet. accruals: (net income
    − operating cash flow) / assets of the last fiscal year, as the cash flows of interim reports are mostly cumulated.
    Of a number told twice the version known last counts, under whatever form, be it an amendment or not.
    """
    asked = members(store, cuts, universe, sessions)
    nothing = asked.select("session", "sid", *(pl.lit(None, pl.Float64).alias(c) for c in COLUMNS))
    columns = ("fiscal_period", "value", "withdrawn", "declared_known_at")
    filings = store.read(
        FILINGS, as_of=cuts.of(max(sessions)), first=min(sessions) - TOO_OLD - 2 * FAR, columns=columns
    )
    filings = filings.with_columns(name=canonical(), accepted=pl.col("declared_known_at").dt.date())
    filings = filings.filter(
        pl.col("item").is_in(ITEMS), pl.col("session") <= pl.col("accepted")
    )  # no report is filed before its period ends
    if filings.is_empty() or asked.is_empty():
        return nothing
    listings = listings_of(store, asked)
    theirs = filings.join(listings, on="name", how="semi", maintain_order="left")
    told = pl.concat(_reported(stretch, theirs, listings) for stretch in by_knowledge(asked, listings))
    values = told.join(_splits(store, cuts, told), on=["session", "sid"], how="left").with_columns(
        shares=pl.col("shares") * pl.col("split").fill_null(1.0)
    )
    fresh = [pl.when(pl.col("session") - pl.col(end) <= TOO_OLD).then(c).alias(c) for c, end in _ENDS.items()]
    return asked.select("session", "sid").join(
        values.select("session", "sid", *fresh), on=["session", "sid"], how="left", maintain_order="left"
    )


def _reported(asked: pl.DataFrame, filings: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """Those of `asked` (session, sid, cut) of which filings were known, with the columns of `statements`.

    The same of `listings` was known at all their cuts. The symbol names the company of a filing as of the day on which
    it was filed.
    """
    meant = resolve(filings.select("symbol", session="accepted").unique(), listings, asked["cut"][0]).drop_nulls("sid")
    theirs = filings.join(meant.rename({"session": "accepted"}), on=["symbol", "accepted"]).join(
        asked.select("sid").unique(), on="sid", how="semi"
    )
    learnt = theirs.select("sid", learnt="known_at").unique().sort("learnt")
    spine = (
        asked.sort("cut")
        .join_asof(learnt, left_on="cut", right_on="learnt", by="sid", check_sortedness=False)
        .drop_nulls("learnt")
    )
    known = theirs.join(spine.select(_OF).unique(), on="sid").filter(pl.col("known_at") <= pl.col("learnt"))
    return spine.join(statements(known), on=_OF)


def statements(known: pl.DataFrame) -> pl.DataFrame:
    """sid, learnt, `COLUMNS` (shares in those of the day of filing), filed (that day), and the end of each value's
    period.

    `known`: the versions of FILINGS rows known by the moment `learnt`, with sid and accepted (the day of filing).
    """
    told, report = ["symbol", "form", "item", "session"], [*_OF, "session", "annual"]
    standing = (
        known.sort(*_OF, *told, "known_at")
        .unique([*_OF, *told], keep="last", maintain_order=True)
        .filter(~pl.col("withdrawn"), pl.col("value").is_finite())
    )
    kept = standing.with_columns(annual=(pl.col("fiscal_period") == ANNUAL).fill_null(value=False)).sort(
        *report, "item", "known_at", "form", "symbol"
    )
    latest = kept.unique([*report, "item"], keep="last", maintain_order=True)
    items = [pl.col("value").filter(pl.col("item") == i).last().alias(i) for i in ITEMS]
    reports = latest.group_by(report, maintain_order=True).agg(
        *items, pl.col("fiscal_period").last(), filed=pl.col("accepted").filter(pl.col("item") == EPS).last()
    )
    counted = pl.when(pl.col(EPS).abs() >= SMALLEST_EPS).then(pl.col(INCOME) / pl.col(EPS))
    reports = reports.with_columns(
        shares=pl.when(counted > 0).then(counted),
        book=pl.col(EQUITY),
        leverage=1.0 - pl.col(EQUITY) / pl.col(ASSETS),
        accruals=pl.when("annual").then((pl.col(INCOME) - pl.col(CASH_FLOW)) / pl.col(ASSETS)),
    )
    direct = [c for c in COLUMNS if c != "earnings"]
    said = [pl.col(c).drop_nulls().last() for c in direct]
    ends = [pl.col("session").filter(pl.col(c).is_not_null()).last().alias(_ENDS[c]) for c in direct]
    filed = pl.col("filed").filter(pl.col("shares").is_not_null()).last()
    out = reports.group_by(_OF, maintain_order=True).agg(*said, *ends, filed)
    return out.join(_trailing(reports), on=_OF, how="left").select(*_OF, *COLUMNS, *_ENDS.values(), "filed")


def _trailing(reports: pl.DataFrame) -> pl.DataFrame:
    """sid, learnt, earnings and the end of their period, of those with an annual report."""
    income, year = pl.col(INCOME).is_not_null(), "year's end"
    dated = reports.with_columns(pl.col("session").filter(pl.col("annual") & income).last().over(_OF).alias(year))
    since = pl.col("session") - pl.col(year)
    now, before = (
        {
            q: ~pl.col("annual") & income & (pl.col("fiscal_period") == q) & (sign * since).is_between(NEAR, FAR)
            for q in QUARTERS
        }
        for sign in (1, -1)
    )
    picked = {
        "annual": pl.col("annual") & (since == timedelta(0)),
        **now,
        **{f"{q} before": c for q, c in before.items()},
    }
    values = [pl.col(INCOME).filter(c).last().alias(name) for name, c in picked.items()]
    dates = [
        pl.col("session").filter(c).last().alias(f"end of {name}")
        for name, c in picked.items()
        if not name.endswith("before")
    ]
    yearly = dated.group_by(_OF, maintain_order=True).agg(*values, *dates)
    earnings, end = pl.col("annual"), pl.col("end of annual")
    trailing = pl.col("annual")
    for q in QUARTERS:  # null as soon as a quarter up to this one is missing
        trailing = trailing + (pl.col(q) - pl.col(f"{q} before"))
        latest = (
            pl.all_horizontal(pl.col(later).is_null() for later in QUARTERS[QUARTERS.index(q) + 1 :])
            if q != QUARTERS[-1]
            else pl.lit(value=True)
        )
        earnings, end = (
            pl.when(latest & trailing.is_not_null()).then(new).otherwise(old)
            for new, old in ((trailing, earnings), (pl.col(f"end of {q}"), end))
        )
    return yearly.select(*_OF, earnings=earnings, **{_ENDS["earnings"]: end})


def _splits(store: Store, cuts: Cuts, told: pl.DataFrame) -> pl.DataFrame:
    """session, sid, split: what one share of the day of filing has become by the session, as known at its cut; of those
    that split at all.
    """
    wanted = told.filter(pl.col("filed").is_not_null()).select("session", "sid", "cut", "filed")
    if wanted.is_empty():
        return pl.DataFrame(schema={"session": pl.Date, "sid": pl.Int64, "split": pl.Float64})
    first, last = wanted.select(pl.col("filed").min(), pl.col("session").max()).row(0)
    actions = store.read(
        ACTIONS, as_of=cuts.of(last), first=first, last=last, columns=("numerator", "denominator", "withdrawn")
    ).filter(pl.col("kind").is_in(SPLITS))
    since = wanted.join(actions.rename({"session": "ex"}), on="sid").filter(
        pl.col("filed") < pl.col("ex"), pl.col("ex") <= pl.col("session"), pl.col("known_at") <= pl.col("cut")
    )
    held = (
        since.sort("session", "sid", "ex", "kind", "known_at")
        .unique(["session", "sid", "ex", "kind"], keep="last", maintain_order=True)
        .filter(~pl.col("withdrawn"))
    )
    return held.group_by("session", "sid", maintain_order=True).agg(
        split=(pl.col("numerator") / pl.col("denominator")).product()
    )


FUNDAMENTALS = Input(
    name="fundamentals",
    columns=dict.fromkeys(COLUMNS, pl.Float64),
    tables=("filings", "listings", "actions", "universe"),
    read=fundamentals,
    without=("filings",),
)
