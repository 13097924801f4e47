"""A decision is rebuilt to the bit from what its cut knew, whatever has happened since."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from quant_assets.errors import ReplayMismatch, UnknownDecision
from quant_assets.records import Provenance
from quant_assets.signals.replay import Replay, replay
from quant_assets.tables import DECISIONS

ELSEWHERE = Provenance(table_versions={}, commit="another", lock_hash="10c4", run_id="r2")


def again(market, decision_id: str, *, strategy=None, provenance: Provenance | None = None, **other) -> Replay:
    """Replay with this market's declarations."""
    features = {market.features.name: market.features}
    strategies: Mapping = {market.strategy.name: strategy or market.strategy}
    return replay(
        market.store,
        features.__getitem__,
        strategies.__getitem__,
        market.cuts,
        decision_id,
        provenance or market.provenance,
        **other,
    )


def test_every_kind_of_decision_replays(market, days) -> None:
    """One of each reason, before and after the first champion: every field equal, nothing to remark."""
    rows = market.decided(days[11], days[20], days[25])
    for row in rows.unique(["session", "reason"], keep="first", maintain_order=True).iter_rows(named=True):
        out = again(market, row["decision_id"])
        out.require_equal()
        assert (out.equal, out.notes, out.session, out.sid) == (True, (), row["session"], row["sid"])
        assert [f.name for f in out.fields] == list(DECISIONS.content)


def test_another_architecture_is_said(market, days) -> None:
    """What differs there is not called a difference of the decision; where the architecture is not on record nothing is
    said.
    """
    decision_id = market.decided(days[25])["decision_id"][0]
    changed = msgspec.structs.replace(market.strategy, holdings=2)
    there = again(
        market, decision_id, strategy=changed, provenance=msgspec.structs.replace(ELSEWHERE, machine="aarch64")
    )
    assert (
        there.elsewhere
        == "decided on x86_64, rebuilt on aarch64: bits are promised on x86_64 alone; replay it on x86_64"
    )
    with pytest.raises(ReplayMismatch, match=r"^decided on x86_64, rebuilt on aarch64"):
        there.require_equal()
    here = again(market, decision_id, provenance=ELSEWHERE)
    assert (here.elsewhere, market.provenance.machine) == ("", "x86_64")


def test_a_later_restatement_changes_nothing(market, days) -> None:
    """Bars, withdrawals, an action that became known after the cut, later bars."""
    row = market.decided(days[25]).filter(rank=1).row(0, named=True)
    after = market.cuts.of(days[25]) + timedelta(microseconds=1)
    market.add_bar(row["sid"], days[25], 1.0, after)
    market.add_bar(row["sid"], days[24], 2.0, after, withdrawn=True)
    market.add_action(row["sid"], days[24], "split", after, numerator=3, denominator=1)
    market.add_bar(row["sid"], days[27], 3.0, after)
    assert again(market, row["decision_id"]).equal


def test_another_commit_is_said_and_a_changed_strategy_shows(market, days) -> None:
    """The code's identity is a note; a strategy declared differently makes fields differ, and names them."""
    decision_id = market.decided(days[25])["decision_id"][0]
    out = again(market, decision_id, provenance=ELSEWHERE)
    assert out.equal
    assert out.notes == ("decided under commit c0ffee, replayed under another",)
    fewer = again(market, decision_id, strategy=msgspec.structs.replace(market.strategy, holdings=2))
    assert "strategy_hash" in {f.name for f in fewer.fields if not f.equal}
    with pytest.raises(ReplayMismatch, match=r"strategy_hash: stored .* decided under strategy_hash"):
        fewer.require_equal()


def test_scores_that_were_tampered_with_are_found(market, days) -> None:
    """Replay scores with the model's text: it does not believe the stored scores."""
    market.decide([days[25]])
    rows = market.decisions(days[25])
    forged = rows.with_columns(score=pl.col("score") + 1e-9, decision_set_id=pl.lit("forged"))
    market.store.append(DECISIONS, forged)
    out = again(market, rows["decision_id"][0], decision_set_id="forged")
    assert {f.name for f in out.fields if not f.equal} == {"score", "decision_set_id"}


def test_the_switches_replay_as_they_were(market, days) -> None:
    """A day killed by hand replays as killed, the same day decided again as it then was; the id alone means the
    first.
    """
    market.decide([days[25]], kill=(True, "drill"))
    market.decide([days[25]], now=datetime(2016, 6, 2, tzinfo=UTC))
    rows = market.decisions(days[25]).filter(sid=1)
    first = again(market, rows["decision_id"][0])
    assert {f.name: f.replayed for f in first.fields}["reason"] == "KILL_SWITCH"
    for set_id in rows["decision_set_id"]:
        again(market, rows["decision_id"][0], decision_set_id=set_id).require_equal()


def test_an_unknown_id_names_the_nearest(market, days) -> None:
    """A mistyped id is answered with what is like it."""
    known = market.decided(days[25])["decision_id"][3]
    with pytest.raises(UnknownDecision, match=known):
        again(market, known[:-2] + "zz")
