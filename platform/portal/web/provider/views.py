"""A provider's pages: what it sent, sending a table, one dataset, its summary for the steward."""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from portal.accounts.models import Role
from portal.api.permissions import visible_datasets
from portal.budgets.models import Account
from portal.registry.facts import policy
from portal.registry.models import Dataset, DatasetState
from portal.web.provider import tables, words
from portal.web.roles import roles


@require_safe
@roles(Role.PROVIDER)
def history(request: HttpRequest) -> HttpResponse:
    """Every table of this organisation, chain by chain."""
    return render(request, "web/provider/history.html", {"chains": tables.chains(_person(request))})


@require_safe
@roles(Role.PROVIDER)
def new(request: HttpRequest) -> HttpResponse:
    """Files become sealed shares in the browser; `?version-of=ID` follows a table that is ready."""
    before = None
    if wanted := request.GET.get("version-of"):
        before = _dataset(request, wanted)
    context = {
        "before": before,
        "follows": before is not None and before.state == DatasetState.READY,
        "start": {
            "before": _predecessor(before) if before and before.state == DatasetState.READY else None,
        },
    }
    return render(request, "web/provider/new.html", context)


@require_safe
@roles(Role.PROVIDER)
def detail(request: HttpRequest, pk: str) -> HttpResponse:
    """One version of a table: its state, receipts, budget, columns, and what was asked of it."""
    dataset = _dataset(request, pk)
    return render(
        request,
        "web/provider/detail.html",
        {
            **_shown(dataset),
            "versions": tables.versions(dataset, _person(request)),
            "queries": tables.queries(dataset, _person(request)),
        },
    )


@require_safe
@roles(Role.PROVIDER)
def summary(request: HttpRequest, pk: str) -> HttpResponse:
    """One page to print for the steward who answers for the data."""
    dataset = _dataset(request, pk)
    facts = json.loads(dataset.codebook).get("facts", {})
    return render(
        request,
        "web/provider/summary.html",
        {
            **_shown(dataset),
            "purpose": _text(facts, "purpose") or _text(facts, "study"),
            "legal_basis": _text(facts, "legal_basis"),
            "steward": _text(facts, "steward"),
            "worst_case": words.worst_case(policy(dataset)),
        },
    )


def _person(request: HttpRequest) -> Any:
    return request.user


def _dataset(request: HttpRequest, pk: str) -> Dataset:
    datasets = visible_datasets(_person(request)).select_related("provider")
    found: Dataset = get_object_or_404(datasets, pk=pk)
    return found


def _shown(dataset: Dataset) -> dict[str, Any]:
    account = Account.objects.select_related("dataset").get(pk=dataset.chain)
    return {
        "dataset": dataset,
        "budget": tables.budget_of(account),
        "terms": words.terms(policy(dataset)),
        "columns": tables.columns(dataset),
        "holders": tables.holders(dataset),
    }


def _predecessor(dataset: Dataset) -> dict[str, Any]:
    """What the browser needs to sign the version after this one."""
    return {
        "id": dataset.pk,
        "title": dataset.title,
        "manifest": json.loads(dataset.manifest),
        "signature": dataset.signature,
        "codebook": json.loads(dataset.codebook),
    }


def _text(facts: Any, name: str) -> str:
    value = facts.get(name) if isinstance(facts, dict) else None
    return value if isinstance(value, str) else ""
