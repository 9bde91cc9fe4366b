"""A check, what came of it, and the record of many."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar

Verdict = Literal["passed", "failed", "refused", "excused", "does not apply"]


class CheckFailed(AssertionError):  # noqa: N818 - what failed is the check, as in pytest.fail.Exception
    """A check failed; the message says what was expected, what was found and what to do.

    Example:
        >>> from tfsaliency.testing import CheckFailed
        >>> issubclass(CheckFailed, AssertionError)
        True
    """


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """What is checked refuses this question in words, which is right."""


class DoesNotApply(Exception):  # noqa: N818 - an answer, not an error
    """The question has no meaning for what is checked."""


def expect(holds: bool, expected: str, found: str, remedy: str) -> None:
    """Raises `CheckFailed` unless it holds."""
    if not holds:
        raise CheckFailed(f"Expected: {expected}. Found: {found}. {remedy}")


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        name: the name of the check.
        verdict: ``"passed"``, ``"failed"``, ``"refused"`` (a question was refused in words, as it should be where it
            cannot be answered), ``"excused"`` (a failure that was announced) or ``"does not apply"``.
        message: what was expected, what was found and what to do; or what was found out.
    """

    name: str
    verdict: Verdict
    message: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:<14} {self.name}" + (f": {self.message}" if self.message else "")


@dataclass(frozen=True)
class Check:
    """One named check, which has not run yet. Calling it runs it.

    Attributes:
        name: its name.
        question: runs it, and returns what was found out.
        excuse: why it may fail; "" where it may not.
    """

    name: str
    question: Callable[[], str]
    excuse: str = ""

    def __call__(self) -> Outcome:
        """Runs the check, as in a test.

        Raises:
            CheckFailed: it failed.
        """
        found = self.outcome()
        if found.verdict == "failed":
            raise CheckFailed(f"{found.name}: {found.message}")
        return found

    def outcome(self) -> Outcome:
        """Runs the check, and raises nothing. Warnings are kept away: a check that minds one looks for it itself.

        Example:
            >>> import tfsaliency as tfs
            >>> from tfsaliency.testing import explainer_checks
            >>> [check.outcome().verdict for check in explainer_checks(tfs.Gradient) if check.name == "meaning"]
            ['passed']
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._answered()
        if not self.excuse:
            return found
        if found.verdict == "failed":
            return Outcome(self.name, "excused", self.excuse)
        message = f"Expected: a failure, excused by {self.excuse!r}. Found: {found.verdict}. Take the excuse away."
        return Outcome(self.name, "failed", message)

    def _answered(self) -> Outcome:
        try:
            return Outcome(self.name, "passed", self.question())
        except CheckFailed as failure:
            return Outcome(self.name, "failed", str(failure))
        except Refused as refusal:
            return Outcome(self.name, "refused", str(refusal))
        except DoesNotApply as reason:
            return Outcome(self.name, "does not apply", str(reason))
        # A check runs other people's code, which can raise anything.
        except Exception as error:
            return Outcome(self.name, "failed", f"Expected: an answer. Found: {type(error).__name__}: {error}")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, repr=False)
class Record:
    """What came of all checks: printed, one line for each.

    Attributes:
        subject: what was checked.
        outcomes: one for each check, in the order in which they ran.
    """

    subject: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> list[Outcome]:
        """The checks that failed."""
        return [each for each in self.outcomes if each.verdict == "failed"]

    def raise_failures(self) -> None:
        """Raises `CheckFailed` with the messages of all checks that failed, if any did.

        Example:
            >>> import keras, numpy as np
            >>> from tfsaliency.testing import check_model
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> check_model(model, np.eye(3)).raise_failures()
        """
        if self.failed:
            lines = "\n".join(f"- {each.name}: {each.message}" for each in self.failed)
            raise CheckFailed(f"{self.subject}: {len(self.failed)} of {len(self.outcomes)} checks failed\n{lines}")

    def __str__(self) -> str:
        counts = {each.verdict: 0 for each in self.outcomes}
        for each in self.outcomes:
            counts[each.verdict] += 1
        summary = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        return "\n".join([f"{self.subject}: {summary}", *map(str, self.outcomes)])

    __repr__ = __str__


def run_all(subject: str, checks: Sequence[Check]) -> Record:
    """Runs checks one after the other."""
    return Record(subject, tuple(check.outcome() for check in checks))


class Case(Protocol):
    """What questions are asked about."""

    def need_an_answer(self) -> None:
        """Raises `DoesNotApply` where there is no map to ask about."""


Asked = TypeVar("Asked", bound=Case)
# A question raises where the answer is wrong, and may return what it found out.
Question = Callable[[Asked], str | None]


def by_name(*questions: Question[Asked]) -> dict[str, Question[Asked]]:
    """Questions by the names of their functions, in words."""
    return {question.__name__.replace("_", " "): question for question in questions}


def checks_of(questions: Mapping[str, Question[Asked]], case: Asked, excuses: Mapping[str, str]) -> list[Check]:
    """Questions about a case as checks, with the excuses of those that may fail.

    The first question is whether there is an answer; all others need one.

    Raises:
        ValueError: an excuse has the name of no check, or says nothing.
    """
    for name, reason in excuses.items():
        if name not in questions or not reason:
            raise ValueError(
                f"excuses are a dict, the name of a check -> why it may fail. Received: {name!r}: {reason!r}. "
                f"The checks are: {', '.join(questions)}"
            )
    first = next(iter(questions))

    def ask(name: str) -> str:
        if name != first:
            case.need_an_answer()
        return questions[name](case) or ""

    return [Check(name, partial(ask, name), excuses.get(name, "")) for name in questions]
