"""Why a session came out as it did."""

from quant_assets.signals.why import WHY, why


def test_counts_add_up_and_every_reason_has_a_sentence(market, days) -> None:
    """One row a reason, with its names, its weight and its numbers."""
    market.decide(days[24:26])
    out = why(market.store, "tiny", days[25])
    assert list(out.columns) == list(WHY)
    assert out["names"].sum() == 21
    assert dict(out.select("reason", "target_weight").iter_rows()) == {
        "NOT_SELECTED": 0.0,
        "SELECTED": 1.0,
        "LEFT_UNIVERSE": 0.0,
    }
    assert out["text"].str.len_chars().min() > 10


def test_a_missing_capture_says_whether_it_came_later(build, days) -> None:
    """The decision knows only its cut; the explanation says what has been learnt since."""
    market = build(captures=days[:20])
    market.decide(days[20:22])
    market.captures([days[20]], late=True)
    late, never = (why(market.store, "tiny", d)["text"].item() for d in days[20:22])
    assert late.endswith("UTC, too late")
    assert never.endswith("it has not arrived since")


def test_a_failed_rule_is_shown_with_its_numbers(build, days) -> None:
    """Which rule, what it measured, against what."""
    market = build(verdicts=())
    market.verdicts(days[20:21], passed=False)
    market.decide(days[20:21])
    assert why(market.store, "tiny", days[20])["text"].item().endswith(": prices_positive 3 (at most 2)")


def test_a_session_that_was_not_decided_has_no_rows(market, days) -> None:
    """Nothing is made up."""
    assert why(market.store, "tiny", days[3]).is_empty()
