"""What became of some of the paper's claims, for the end of a notebook."""

from __future__ import annotations

from r1reward.report.claim_list import CLAIMS
from r1reward.report.claims import claims_table, ledger
from r1reward.report.layout import to_markdown
from r1reward.report.records import Records


def claims_markdown(records: Records, *names: str) -> str:
    """The ledger's rows of these claims. Raises ValueError for a name that the ledger does not have."""
    chosen = [claim for claim in CLAIMS if claim.name in names]
    if unknown := set(names) - {claim.name for claim in chosen}:
        raise ValueError(f"no claim is called {', '.join(sorted(unknown))}")
    return to_markdown(claims_table(ledger(records, chosen), profile=records.profile))
