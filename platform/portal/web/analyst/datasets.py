"""The catalogue: what can be asked about, in the words of codebooks, with policy and what is left of the budget."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from analytics.query.errors import ProgramRejected
from portal.api.permissions import visible_datasets
from portal.budgets.actions import decimal_text, means
from portal.budgets.models import Account
from portal.registry.facts import policy, schema
from portal.registry.models import Dataset, DatasetState
from portal.web.roles import EVERY_ROLE, roles

ON_A_PAGE = 20


@roles(*EVERY_ROLE)
@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    """Datasets that this person may see; `q` looks in titles, providers, fields and levels, `old=1` shows old versions."""
    wanted = request.GET.get("q", "").strip()[:100]
    old = request.GET.get("old") == "1"
    known = visible_datasets(request.user).select_related("provider")
    if not old:
        known = known.exclude(state=DatasetState.SUPERSEDED)
    found = [dataset for dataset in known if _holds(dataset, wanted)]
    page = Paginator(found, ON_A_PAGE).get_page(request.GET.get("page"))
    accounts = {a.pk: a for a in Account.objects.filter(pk__in=[d.chain for d in page])}
    shown = [
        {
            "dataset": dataset,
            "fields": [field.name for field in schema(dataset).fields],
            "account": _account(accounts.get(dataset.chain)),
        }
        for dataset in page
    ]
    return render(
        request, "web/analyst/catalogue.html", {"page": page, "shown": shown, "wanted": wanted, "old": old}
    )


@roles(*EVERY_ROLE)
@require_safe
def dataset(request: HttpRequest, pk: str) -> HttpResponse:
    """One dataset: fields with units, bounds and levels, public facts, policy, budget, versions."""
    found = get_object_or_404(visible_datasets(request.user).select_related("provider"), pk=pk)
    known = schema(found)
    account = Account.objects.filter(pk=found.chain).first()
    context = {
        "dataset": found,
        "schema": known,
        "fields": [_field(field) for field in known.fields],
        "facts": [(key.replace("_", " "), value) for key, value in known.facts.items()],
        "policy": policy(found),
        "most": decimal_text(most) if (most := policy(found).get("micro_epsilon_per_query")) else "",
        "account": _account(account),
        "means": means(account) if account else "",
        "versions": visible_datasets(request.user).filter(chain=found.chain).order_by("-version"),
        "ready": found.state == DatasetState.READY,
    }
    return render(request, "web/analyst/dataset.html", context)


@roles(*EVERY_ROLE)
@require_safe
def twin(request: HttpRequest, pk: str) -> HttpResponse:
    """Made-up patients of a dataset's codebook as the CSV file that a provider could upload."""
    from analytics.twin import raw_file  # loads scipy: three seconds, once
    from portal.registry.facts import facts

    found = get_object_or_404(visible_datasets(request.user), pk=pk)
    try:
        text = raw_file(facts(found))
    except ProgramRejected as wrong:
        words = f"There is no file of this twin: {wrong.message}."
        return render(request, "web/problem.html", {"words": words, "title": "No file"}, status=409)
    answer = HttpResponse(text, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="twin-{found.pk[:8]}.csv"'
    return answer


def _holds(dataset: Dataset, wanted: str) -> bool:
    if not wanted:
        return True
    texts = [dataset.title, dataset.pk, dataset.provider.name]
    for field in schema(dataset).fields:
        texts += [field.name, field.title, field.unit, *(str(level.label) for level in field.levels)]
    whole = "\n".join(texts).casefold()
    return all(word in whole for word in wanted.casefold().split())


def _field(field: Any) -> dict[str, Any]:
    number = field.kind != "category"
    return {
        "field": field,
        "kind": "number" if number else "category",
        "bounds": f"{field.value(0)} to {field.value(field.codes - 1)}" if number else "",
        "levels": [str(level.label) for level in field.levels],
    }


def _account(account: Account | None) -> dict[str, Any] | None:
    if account is None:
        return None
    return {
        "total": decimal_text(account.total),
        "left": decimal_text(account.left),
        "spent": decimal_text(account.spent),
        "reserved": decimal_text(account.reserved),
        "percent": round(100 * account.left / account.total) if account.total else 0,
    }
