"""The questions of the day as checks of `day_status`, one question each."""

from collections.abc import Iterable, Sequence
from datetime import date

import dagster as dg

from quant_assets.today.assets import Questions

NAMES = {
    "data": "Is the session's data complete and released?",
    "model": "Is the model current?",
    "decisions": "Was it decided by the deadline?",
    "orders": "Did the orders reach the venue, and none fail?",
    "booked": "Are positions and cash booked?",
    "breaks": "Do our ledger and the venue agree?",
    "kill_switch": "Is the kill switch off?",
    "acts": "Is the record of what people did whole?",
    "report": "Is the morning page published?",
    "heartbeat": "Did a run finish lately?",
}


def build() -> Sequence[dg.AssetChecksDefinition]:
    """One multi-check on `day_status`."""
    specs = [dg.AssetCheckSpec(name, asset="day_status", description=question) for name, question in NAMES.items()]

    @dg.multi_asset_check(name="day_questions", specs=specs)
    def today(
        context: dg.AssetCheckExecutionContext, status: dg.ResourceParam[Questions]
    ) -> Iterable[dg.AssetCheckResult]:
        answers = status(date.fromisoformat(context.run.tags["dagster/partition"]))
        for asked_for in context.selected_asset_check_keys:
            name = asked_for.name
            asked = [s for s in answers if s.name == name or s.name.startswith(f"{name}_")]
            metadata = {s.name: s.answer for s in asked} | {
                f"{s.name}_next": s.next_command for s in asked if s.next_command
            }
            yield dg.AssetCheckResult(
                check_name=name,
                asset_key=asked_for.asset_key,
                passed=all(s.fine for s in asked),
                metadata=metadata,
                severity=dg.AssetCheckSeverity.ERROR,
            )

    return [today]
