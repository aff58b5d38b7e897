"""Orders among three parties wait until the provider of every dataset has signed; the portal checks, parties check again."""

import json
import time
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from analytics.query.consent import ConsentRejected, check_consent
from analytics.query.order import Order as OrderBody
from portal.absence.models import Consent
from portal.accounts.models import User
from portal.audit.actions import record
from portal.queries.models import Query, State


def orders_waiting(user: User) -> list[Query]:
    """APPROVED queries among three that touch this organisation's datasets and lack a consent for one of them."""
    found = _touching(user).filter(state=State.APPROVED).order_by("approved_at", "pk").distinct()
    return [query for query in found if query.order.missing is not None and own_missing(query, user)]


def order_for(user: User, pk: Any) -> Query | None:
    """One APPROVED query among three that touches this organisation's datasets."""
    query = _touching(user).filter(state=State.APPROVED, pk=pk).distinct().first()
    return query if query is not None and query.order.missing is not None else None


def own_missing(query: Query, user: User) -> list[str]:
    """The datasets of this organisation that the order still needs a consent for."""
    given = set(query.consents.filter(expires__gte=int(time.time())).values_list("dataset_id", flat=True))
    own = query.datasets.filter(provider=user.organisation_id).order_by("pk").values_list("pk", flat=True)
    return [pk for pk in own if pk not in given]


def give(*, query: Query, by: User, consent: Any, signature: str) -> Consent:
    """Keep a provider's consent; a later one for the same dataset replaces it.

    Raises  ConsentRejected.
    """
    dataset = query.datasets.filter(
        provider=by.organisation_id, pk=consent.get("dataset") if isinstance(consent, dict) else None
    ).first()
    if dataset is None:
        raise ConsentRejected("the consent is for no dataset of yours in this order")
    order = OrderBody.parse(json.loads(query.order.body))
    parsed = check_consent(
        {"consent": consent, "signature": signature},
        order,
        dataset.pk,
        dataset.provider_key,
        int(time.time()),
    )
    with transaction.atomic():
        kept, _ = Consent.objects.update_or_create(
            query=query,
            dataset=dataset,
            defaults={
                "body": json.dumps(consent),
                "signature": signature,
                "expires": parsed.expires,
                "by": by.username,
            },
        )
        record(
            "consent to three parties",
            by=by.username,
            subject=f"query {query.pk}",
            detail={"dataset": dataset.pk, "missing": parsed.missing, "expires": parsed.expires},
        )
    return kept


def complete(query: Query, now: float) -> bool:
    """Whether the order needs no consent, or has them all."""
    if query.order.missing is None:
        return True
    given = query.consents.filter(expires__gte=int(now)).values("dataset").distinct().count()
    return given == query.datasets.count()


def envelope(query: Query) -> list[dict[str, Any]]:
    """The consents as parties read them."""
    return [{"consent": json.loads(c.body), "signature": c.signature} for c in query.consents.all()]


def _touching(user: User) -> QuerySet[Query]:
    return Query.objects.filter(
        datasets__provider=user.organisation_id, datasets__provider__isnull=False
    ).select_related("order")
