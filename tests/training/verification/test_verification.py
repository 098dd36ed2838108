"""`verify`: everything holds, what must be there is there, and a wrong objective is caught."""

import json
import re

import pytest

from tests.support.pages import ROOT
from training.cli import main
from training.objectives import Minimax
from training.objectives.base import Batch, LossTerms, Networks


@pytest.mark.slow
def test_everything_holds_and_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert all(finding["holds"] for finding in findings)
    identities = "\n".join(finding["identity"] for finding in findings)
    for words in (
        "trained D = p/(p + q)",
        "V(D*) = 2 JSD - log 4",
        "JSD estimate",
        "grad E log(1 - D*) = grad 2 JSD",
        "grad E [-log D*] = grad [KL(q||p) - 2 JSD]",
        "under smoothing",
        "W1 of the samples",
        "linear programming",
        "log 10",
        "R1 of the linear critic",
        "relativistic",
    ):
        assert words in identities
    assert identities.count("bound at T* = f'(p/q) is D_f(P||Q)") == 11
    named = named_on_the_page()
    assert len(named) > 20
    assert named <= {finding["identity"] for finding in findings}


def named_on_the_page() -> set[str]:
    """The identities that docs/theory.md says are checked."""
    page = (ROOT / "docs/theory.md").read_text(encoding="utf-8")
    checked = [part for part in page.split("\n\n") if part.startswith("Checked by `verify`")]
    return {name for part in checked for name in re.findall(r"`([^`]+)`", part)} - {"verify"}


@pytest.mark.slow
def test_a_generator_loss_of_the_wrong_sign_is_caught(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = Minimax.generator_loss

    def wrong(self: Minimax, nets: Networks, batch: Batch) -> LossTerms:
        terms = right(self, nets, batch)
        return LossTerms(-terms.total, terms.parts)

    monkeypatch.setattr(Minimax, "generator_loss", wrong)
    assert main(["verify"]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("FAIL") == 3  # both gradients at D*, and the slope at a sure critic
    # a slow machine's progress bar stands before it
    assert re.search(r"\b3 of \d+ identities do not hold; the first: grad E log\(1 - D\*\) = grad 2 JSD", shown.err)
