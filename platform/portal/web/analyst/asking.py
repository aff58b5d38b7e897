"""Asking: the list of one's questions, the editor, drafts. Without JavaScript a question is checked when it is sent."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from analytics.query.errors import QueryError
from analytics.query.statistic import statistics
from portal.accounts.models import Role
from portal.api.permissions import visible_datasets, visible_queries
from portal.budgets.actions import decimal_text
from portal.budgets.models import Account
from portal.queries import actions
from portal.queries.compiling import LONGEST_PROGRAM, RequestRejected
from portal.queries.models import Draft, Mode, State
from portal.registry import parties
from portal.registry.models import PARTIES, DatasetState
from portal.registry.versions import Superseded
from portal.web.roles import roles

ON_A_PAGE = 25
LONGEST_TITLE, LONGEST_PURPOSE = 200, 4096
USUAL_EPSILON = "1"
EXAMPLES = (
    (
        "Four questions",
        """\
average("time_till_death", "northeast")
average("time_since_diagnosis", "northeast")
std("time_since_diagnosis", "northeast")
correlate("region", "death flag")
""",
    ),
    (
        "An analysis plan with a primary endpoint",
        """\
# The primary endpoint gets 40 % of epsilon, what is exploratory shares the rest.
survival(time_till_death) by arm primary
logrank(time_till_death, arm)
proportion(death_flag, dead) by arm
""",
    ),
    ("A baseline table", "table_one(age, bmi, sex, ecog) by arm\n"),
)


class Asking(forms.Form):
    """A question as it comes from the page. What a program means is the compiler's to say, not the form's."""

    title = forms.CharField(
        max_length=LONGEST_TITLE, error_messages={"required": "Give the question a title."}
    )
    purpose = forms.CharField(
        max_length=LONGEST_PURPOSE,
        error_messages={"required": "Say what the answer is for: the operator decides on it."},
    )
    program = forms.CharField(
        strip=False, max_length=LONGEST_PROGRAM, error_messages={"required": "The program is empty."}
    )
    datasets = forms.MultipleChoiceField(error_messages={"required": "Choose at least one dataset."})
    mode = forms.ChoiceField(choices=Mode.choices, initial=Mode.DP)
    epsilon = forms.DecimalField(required=False, max_digits=18, decimal_places=12)
    confirm = forms.BooleanField(required=False)

    def __init__(self, *args: Any, known: list[str], **how: Any) -> None:
        super().__init__(*args, **how)
        self.fields["datasets"].choices = [(pk, pk) for pk in known]  # type: ignore[attr-defined]


@roles(Role.ANALYST, Role.OPERATOR, Role.AUDITOR)
@require_safe
def queries(request: HttpRequest) -> HttpResponse:
    """Queries that this person may see, newest first, and an analyst's drafts."""
    user: Any = request.user
    state = request.GET.get("state", "")
    wanted = request.GET.get("q", "").strip()[:100]
    found = visible_queries(user).select_related("analyst").defer("plan", "description")
    if state in State.values:
        found = found.filter(state=state)
    if wanted:
        found = found.filter(title__icontains=wanted) | found.filter(program__icontains=wanted)
    page = Paginator(found, ON_A_PAGE).get_page(request.GET.get("page"))
    drafts = user.drafts.all()[:ON_A_PAGE] if user.role == Role.ANALYST else []
    return render(
        request,
        "web/analyst/queries.html",
        {"page": page, "drafts": drafts, "states": State.values, "state": state, "wanted": wanted},
    )


@roles(Role.ANALYST)
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The editor; a POST submits, for pages without JavaScript."""
    user: Any = request.user
    known = _askable(user)
    if request.method != "POST":
        return _editor(request, known, _start(request))
    form = Asking(request.POST, known=[d.pk for d in known])
    if not form.is_valid():
        return _editor(
            request, known, _typed(request), {k: str(v[0]) for k, v in form.errors.items()}, status=400
        )
    asked = form.cleaned_data
    confirm = ["not_useful"] if asked.pop("confirm") else []
    chosen = [d for d in known if d.pk in asked.pop("datasets")]
    try:
        query = actions.submit(analyst=user, datasets=chosen, confirm=confirm, **asked)
    except actions.NotUseful as drowned:
        return _editor(request, known, _typed(request), {"confirm": str(drowned)}, status=409)
    except (QueryError, RequestRejected, Superseded) as wrong:
        return _editor(request, known, _typed(request), {"program": str(wrong)}, status=400)
    _forget(request)
    return redirect("web:query", pk=query.pk)


@roles(Role.ANALYST)
@require_POST
def save_draft(request: HttpRequest) -> HttpResponse:
    """What is in the form, kept as it is."""
    user: Any = request.user
    typed = _typed(request)
    number = request.POST.get("draft", "")
    draft = user.drafts.filter(pk=int(number)).first() if number.isdecimal() and len(number) < 10 else None
    draft = draft or Draft(analyst=user)
    for key in ("title", "purpose", "program", "epsilon", "mode", "datasets"):
        setattr(draft, key, typed[key])
    draft.save()
    messages.success(request, "The draft is kept. Nobody else sees it.")
    return redirect(f"{reverse('web:query-new')}?draft={draft.pk}")


@roles(Role.ANALYST)
@require_POST
def delete_draft(request: HttpRequest, draft: int) -> HttpResponse:
    user: Any = request.user
    get_object_or_404(user.drafts, pk=draft).delete()
    messages.success(request, "The draft is deleted.")
    return redirect("web:queries")


def _askable(user: Any) -> list[Any]:
    ready = visible_datasets(user).filter(state=DatasetState.READY)
    return list(ready.select_related("provider", "account").order_by("title", "pk"))


def _start(request: HttpRequest) -> dict[str, Any]:
    """What stands in the editor at first: a draft, an earlier query, else the first example."""
    user: Any = request.user
    got = request.GET
    empty = {"title": "", "purpose": "", "program": EXAMPLES[0][1], "datasets": [], "mode": Mode.DP}
    start: dict[str, Any] = {**empty, "epsilon": USUAL_EPSILON, "draft": None}
    if (number := got.get("draft", "")).isdecimal() and len(number) < 10:
        draft = get_object_or_404(user.drafts, pk=int(number))
        keys = ("title", "purpose", "program", "datasets", "mode", "epsilon")
        start |= {key: getattr(draft, key) for key in keys} | {"draft": draft.pk}
    elif got.get("clone"):
        try:
            earlier = visible_queries(user).filter(pk=got["clone"]).first()
        except (ValueError, forms.ValidationError):
            earlier = None
        if earlier is not None:
            # Of a table that has a newer version, that one is asked.
            newest = [d.newest or d for d in earlier.datasets.all()]
            start |= {key: getattr(earlier, key) for key in ("title", "purpose", "program", "mode")}
            start |= {
                "datasets": [d.pk for d in newest],
                "epsilon": f"{earlier.micro_epsilon / 10**6:g}" if earlier.micro_epsilon else "",
            }
    if got.get("datasets"):
        start["datasets"] = got["datasets"].split(",")[:16]
    return start


def _typed(request: HttpRequest) -> dict[str, Any]:
    posted = request.POST
    mode = posted.get("mode", "")
    return {
        "title": posted.get("title", "")[:LONGEST_TITLE],
        "purpose": posted.get("purpose", "")[:LONGEST_PURPOSE],
        "program": posted.get("program", "").replace("\r\n", "\n")[:LONGEST_PROGRAM],
        "datasets": posted.getlist("datasets")[:16],
        "mode": mode if mode in Mode.values else Mode.DP,
        "epsilon": posted.get("epsilon", "")[:32],
        "draft": posted.get("draft") or None,
    }


def _forget(request: HttpRequest) -> None:
    """A draft that was submitted is a draft no more."""
    user: Any = request.user
    number = request.POST.get("draft", "")
    if number.isdecimal() and len(number) < 10:
        user.drafts.filter(pk=int(number)).delete()


def _editor(
    request: HttpRequest,
    known: list[Any],
    start: dict[str, Any],
    wrong: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    chosen = set(start["datasets"]) or ({known[0].pk} if len(known) == 1 else set())
    listed = parties.listing()
    accounts = Account.objects.in_bulk([d.chain for d in known])
    words = [
        {"name": name, "aliases": list(one.aliases), "words": one.words, "takes": one.takes()}
        for name, one in statistics().items()
    ]
    context = {
        "start": start,
        "wrong": wrong or {},
        "datasets": [
            {
                "dataset": d,
                "chosen": d.pk in chosen,
                "account": accounts[d.chain],
                "left": decimal_text(accounts[d.chain].left),
            }
            for d in known
        ],
        "examples": EXAMPLES,
        "reachable": sum(p["state"] in ("ok", "degraded") for p in listed),
        "parties": PARTIES,
        "listed": listed,
        "vocabulary": {"statistics": words, "examples": [text for _, text in EXAMPLES]},
    }
    return render(request, "web/analyst/new.html", context, status=status)
