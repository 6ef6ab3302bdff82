"""Decisions as dictionaries, for assertions."""

from __future__ import annotations

from collections.abc import Iterable

from capture.provenance import Decision


def choices_by_subject(decisions: Iterable[Decision]) -> dict[str, str]:
    """Subject -> choice."""
    return {decision.subject: decision.choice for decision in decisions}


def uncertain_choices(decisions: Iterable[Decision]) -> dict[str, str]:
    """Subject -> choice of the decisions that are not certain."""
    return {decision.subject: decision.choice for decision in decisions if not decision.is_certain}
