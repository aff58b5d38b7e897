"""What goes in and out, and nothing else: every field is named here."""

# mypy: disable-error-code="type-arg"

import json
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics.privacy.accountant import delta_text
from analytics.query.consent import ACTIVE, PASSIVE
from portal.absence.models import LostParty
from portal.absence.replacement import signed_sets
from portal.accounts.models import Role
from portal.api.fields import DeltaField, ProgramField
from portal.audit.models import Event
from portal.budgets.actions import accounting, composition, decimal_text, means
from portal.budgets.models import Account
from portal.queries.models import Mode, Query, QueryEvent
from portal.registry import bundles
from portal.registry.models import PARTIES, Dataset, Receipt
from portal.webhooks.models import Delivery, Webhook
from portal.webhooks.models import Event as WebhookEvent


class RequestSerializer(serializers.Serializer):
    """A question: program, datasets, epsilon (decimal text or number; not needed in exact mode), mode; delta for a plan
    of more than twelve tables, where every policy has one."""

    program = ProgramField()
    datasets = serializers.ListField(
        child=serializers.RegexField(
            r"^[0-9a-f]{32}\Z", error_messages={"invalid": "A dataset id is 32 hex digits."}
        ),
        min_length=1,
        max_length=16,
    )
    epsilon = serializers.DecimalField(
        max_digits=18, decimal_places=12, required=False, allow_null=True, default=None
    )
    mode = serializers.ChoiceField(choices=Mode.choices, default=Mode.DP)
    delta = DeltaField(
        required=False,
        allow_null=True,
        default=None,
        help_text="beside epsilon; absent or null, epsilon alone",
    )

    def validate_datasets(self, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise serializers.ValidationError("Name each dataset once.")
        return value


class PreviewRequestSerializer(RequestSerializer):
    """A question, and what is supposed of its figures: {"all" or a statement's number: {"sd", "event_rate", "n",
    "effect", "width"}}."""

    assumptions = serializers.DictField(required=False, allow_null=True, default=None)


class SubmissionSerializer(RequestSerializer):
    """A question to be kept; `confirm` names what is asked for all the same. Operators read title and purpose."""

    confirm = serializers.ListField(
        child=serializers.ChoiceField(choices=["not_useful"]), required=False, default=list, max_length=1
    )
    title = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    purpose = serializers.CharField(max_length=4096, required=False, allow_blank=True, default="")


class ReasonSerializer(serializers.Serializer):
    reason = serializers.CharField(max_length=4096, required=False, allow_blank=True, default="")


class ApproveSerializer(ReasonSerializer):
    """`missing` is the party declared lost that the order does without; absent or null, four parties compute."""

    missing = serializers.IntegerField(min_value=0, max_value=PARTIES - 1, required=False, allow_null=True)


class LostPartySerializer(serializers.ModelSerializer):
    lost = serializers.SerializerMethodField(help_text="whether it counts now")

    class Meta:
        model = LostParty
        fields = ["party", "lost", "reason", "declared_by", "declared_at", "confirmed_by", "revoked_by"]
        read_only_fields = fields

    def get_lost(self, row: LostParty) -> bool:
        return row.confirmed_at is not None and row.revoked_at is None


class WaitingConsentSerializer(serializers.Serializer):
    query = serializers.UUIDField()
    security = serializers.CharField()
    missing = serializers.IntegerField()
    datasets = serializers.ListField(child=serializers.CharField(), help_text="yours without a consent")
    expires = serializers.IntegerField()
    order_hash = serializers.CharField()
    order = serializers.DictField()
    order_signature = serializers.CharField()
    approval = serializers.DictField()
    approval_signature = serializers.CharField()


class ConsentSerializer(serializers.Serializer):
    consent = serializers.DictField()
    signature = serializers.RegexField(r"^[0-9a-f]{128}\Z")


class PartySetSerializer(serializers.Serializer):
    set = serializers.DictField()
    signature = serializers.RegexField(r"^[0-9a-f]{128}\Z")


class EventSerializer(serializers.ModelSerializer):
    class Meta:
        model = QueryEvent
        fields = ["time", "was", "now", "by", "reason"]
        read_only_fields = fields


class QuerySerializer(serializers.ModelSerializer):
    """A query as its asker, operators and auditors see it."""

    datasets = serializers.SerializerMethodField()
    epsilon = serializers.SerializerMethodField()
    delta = serializers.SerializerMethodField(help_text='"0" for epsilon alone')
    plan = serializers.JSONField(source="description", read_only=True)
    analyst = serializers.CharField(source="analyst.username", read_only=True)
    released = serializers.DateTimeField(source="released_at", read_only=True)
    approved = serializers.DateTimeField(source="approved_at", read_only=True)
    attempts = serializers.SerializerMethodField()
    security = serializers.SerializerMethodField()
    missing = serializers.SerializerMethodField()

    class Meta:
        model = Query
        fields = [
            "id",
            "title",
            "purpose",
            "state",
            "program",
            "datasets",
            "epsilon",
            "delta",
            "mode",
            "plan",
            "plan_hash",
            "analyst",
            "created",
            "approved",
            "approved_by",
            "released",
            "reason",
            "code",
            "attempts",
            "security",
            "missing",
        ]
        read_only_fields = fields

    def get_datasets(self, query: Query) -> list[str]:
        return [part.dataset_id for part in query.parts.all()]

    def get_epsilon(self, query: Query) -> str:
        return decimal_text(query.micro_epsilon)

    def get_delta(self, query: Query) -> str:
        return delta_text(query.atto_delta)

    def get_security(self, query: Query) -> str:
        return ACTIVE if self.get_missing(query) is None else PASSIVE

    def get_missing(self, query: Query) -> int | None:
        order = getattr(query, "order", None)
        return None if order is None else order.missing

    @extend_schema_field(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "number": {"type": "integer"},
                    "state": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        }
    )
    def get_attempts(self, query: Query) -> list[dict[str, Any]]:
        return [{"number": a.number, "state": a.state, "code": a.code} for a in query.attempts.all()]


class QueryForProviderSerializer(QuerySerializer):
    """A query as a provider of one of its datasets sees it: that it was asked, what, and what it costs."""

    class Meta(QuerySerializer.Meta):
        fields = ["id", "state", "program", "datasets", "epsilon", "delta", "mode", "created", "released"]
        read_only_fields = fields


class QueryDetailSerializer(QuerySerializer):
    events = EventSerializer(many=True, read_only=True)

    class Meta(QuerySerializer.Meta):
        fields = [*QuerySerializer.Meta.fields, "events"]
        read_only_fields = fields


class TestsSoFarSerializer(serializers.Serializer):
    analyst = serializers.IntegerField(help_text="p-values released to you about these datasets")
    dataset = serializers.IntegerField(help_text="... to everybody; all versions of a table count together")


class FromField(serializers.ListField):
    """Queries whose released cells answer this one at no charge; `from` is a word of Python's."""

    child = serializers.UUIDField()


class PreviewSerializer(serializers.Serializer):
    def get_fields(self) -> dict[str, Any]:
        return {
            **super().get_fields(),
            "from": FromField(help_text="queries that released all its tables to you: it costs nothing"),
        }

    program = serializers.CharField()
    datasets = serializers.ListField(child=serializers.CharField())
    epsilon = serializers.CharField()
    delta = serializers.CharField(help_text='"0" for epsilon alone')
    mode = serializers.CharField()
    plan = serializers.JSONField()
    plan_hash = serializers.CharField()
    stored = serializers.BooleanField(
        help_text="an identical plan was answered: the answer would cost nothing"
    )
    charge = serializers.CharField(help_text="what one attempt would be charged to each dataset")
    charge_delta = serializers.CharField(help_text="... of delta")
    free_statements = serializers.ListField(
        child=serializers.DictField(),
        help_text="statements whose tables you were told already: number, epsilon, queries; free if asked alone",
    )
    told = serializers.CharField(help_text="the same in a sentence, or empty")
    tests_so_far = TestsSoFarSerializer()
    missing = serializers.IntegerField(allow_null=True, help_text="the party that is declared lost now")
    security = serializers.CharField(help_text="how it would run now: four-party, active, or less")


class ResultSerializer(serializers.Serializer):
    """Only for the OpenAPI document: the kept text itself is served."""

    def get_fields(self) -> dict[str, Any]:
        told = "queries whose released cells answer this one; `signatures` are then in `sources`"
        return {**super().get_fields(), "from": FromField(help_text=told)}

    query = serializers.UUIDField()
    mode = serializers.CharField()
    epsilon = serializers.CharField()
    delta = serializers.CharField(help_text='"0" for epsilon alone')
    means = serializers.CharField(help_text="what the two promise a patient, in words")
    charged = serializers.CharField()
    charged_delta = serializers.CharField()
    stored_from = serializers.UUIDField(allow_null=True)
    datasets = serializers.ListField(child=serializers.CharField())
    plan_hash = serializers.CharField()
    missing = serializers.IntegerField(allow_null=True)
    security = serializers.CharField(help_text="four-party, active; or three-party, passive")
    statements = serializers.ListField(child=serializers.DictField())
    integers = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    signatures = serializers.ListField(child=serializers.DictField())
    sources = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text="with `from`: program, epsilon, delta, plan_hash, integers and signatures of each",
    )
    tests_so_far = TestsSoFarSerializer(help_text="with those of this answer, when it was released")


class WaitSerializer(serializers.Serializer):
    query = serializers.UUIDField()
    state = serializers.CharField()


class ReceiptSerializer(serializers.ModelSerializer):
    class Meta:
        model = Receipt
        fields = ["party", "manifest_hash", "signature", "time"]
        read_only_fields = fields


class DatasetSerializer(serializers.ModelSerializer):
    """Public facts of a dataset. `capacity` is public; the number of patients is nowhere."""

    provider = serializers.CharField(source="provider.name", read_only=True)
    superseded_by = serializers.CharField(
        read_only=True, allow_null=True, help_text="the dataset to ask about instead"
    )
    facts = serializers.SerializerMethodField()
    columns = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = [
            "id",
            "title",
            "provider",
            "state",
            "chain",
            "version",
            "superseded_by",
            "capacity",
            "mode",
            "columns",
            "facts",
            "created",
        ]
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_facts(self, dataset: Dataset) -> Any:
        return json.loads(dataset.codebook).get("facts", {})

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_columns(self, dataset: Dataset) -> list[str]:
        return [field["name"] for field in json.loads(dataset.codebook)["fields"]]


class DatasetDetailSerializer(DatasetSerializer):
    codebook = serializers.SerializerMethodField()
    policy = serializers.SerializerMethodField()
    manifest = serializers.SerializerMethodField()
    receipts = serializers.SerializerMethodField()
    complaints = serializers.SerializerMethodField()
    uploaded = serializers.SerializerMethodField()
    party_sets = serializers.SerializerMethodField(help_text="who holds it, after the manifest's own parties")

    class Meta(DatasetSerializer.Meta):
        fields = [
            *DatasetSerializer.Meta.fields,
            "codebook",
            "policy",
            "manifest",
            "manifest_hash",
            "signature",
            "receipts",
            "complaints",
            "uploaded",
            "party_sets",
        ]
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_codebook(self, dataset: Dataset) -> Any:
        return json.loads(dataset.codebook)

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_policy(self, dataset: Dataset) -> Any:
        return json.loads(dataset.manifest)["policy"]

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_manifest(self, dataset: Dataset) -> Any:
        return json.loads(dataset.manifest)

    @extend_schema_field(ReceiptSerializer(many=True))
    def get_receipts(self, dataset: Dataset) -> Any:
        return ReceiptSerializer(self._current(dataset, code=""), many=True).data

    @extend_schema_field({"type": "array", "items": {"type": "object"}})
    def get_complaints(self, dataset: Dataset) -> list[dict[str, Any]]:
        return [{"party": r.party, "code": r.code, "time": r.time} for r in self._current(dataset, code=None)]

    @extend_schema_field(PartySetSerializer(many=True))
    def get_party_sets(self, dataset: Dataset) -> list[dict[str, Any]]:
        return signed_sets(dataset)

    @extend_schema_field({"type": "array", "items": {"type": "object"}})
    def get_uploaded(self, dataset: Dataset) -> list[dict[str, int]]:
        """Per party: chunks that are here, chunks its bundle has (0: not known yet)."""
        counts = bundles.counts(dataset)
        return [{"party": n, "present": here, "chunks": of} for n, (here, of) in enumerate(counts)]

    def _current(self, dataset: Dataset, code: str | None) -> list[Receipt]:
        rows = dataset.receipts.filter(manifest_hash=dataset.manifest_hash)
        return list(rows.filter(code=code) if code is not None else rows.exclude(code=""))


class ManifestRequestSerializer(serializers.Serializer):
    """Structure is checked by the manifest's and the codebook's own rules."""

    manifest = serializers.DictField()
    signature = serializers.RegexField(r"^[0-9a-f]{128}\Z")
    codebook = serializers.DictField()


class BudgetSerializer(serializers.ModelSerializer):
    """The account that all versions of a table share, under the id of the version that was asked for."""

    dataset = serializers.SerializerMethodField(help_text="the version asked for, or the one that answers")
    chain = serializers.CharField(source="dataset_id", help_text="id of the first version")
    total = serializers.SerializerMethodField()
    spent = serializers.SerializerMethodField()
    reserved = serializers.SerializerMethodField()
    left = serializers.SerializerMethodField()
    mode = serializers.CharField(
        source="dataset.mode", help_text="dp, exact, or empty before the first query"
    )
    means = serializers.SerializerMethodField(help_text="what it promises a patient, in words")
    composition = serializers.SerializerMethodField(
        help_text="of the tables released: what is charged, and for information sum, PLD and zCDP at delta"
    )
    accounting = serializers.SerializerMethodField(
        help_text="of a budget with delta: both accountings, what is left by each, in words; else null"
    )

    class Meta:
        model = Account
        fields = [
            "dataset",
            "chain",
            "total",
            "spent",
            "reserved",
            "left",
            "mode",
            "means",
            "composition",
            "accounting",
        ]
        read_only_fields = fields

    def get_means(self, account: Account) -> str:
        return means(account)

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_composition(self, account: Account) -> dict[str, Any]:
        return composition(account)

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_accounting(self, account: Account) -> dict[str, Any] | None:
        return accounting(account)

    def get_dataset(self, account: Account) -> str:
        return str(self.context["shown"][account.pk])

    def get_total(self, account: Account) -> str:
        return decimal_text(account.total)

    def get_spent(self, account: Account) -> str:
        return decimal_text(account.spent)

    def get_reserved(self, account: Account) -> str:
        return decimal_text(account.reserved)

    def get_left(self, account: Account) -> str:
        return decimal_text(account.left)


class AuditSerializer(serializers.ModelSerializer):
    class Meta:
        model = Event
        fields = ["id", "time", "kind", "by", "subject", "detail"]
        read_only_fields = fields


class LedgerHeadSerializer(serializers.Serializer):
    length = serializers.IntegerField()
    head = serializers.CharField()


class SeenHeadSerializer(LedgerHeadSerializer):
    by = serializers.CharField(help_text="portal, or the party that saw it")


class PartySerializer(serializers.Serializer):
    party = serializers.IntegerField()
    seal = serializers.CharField()
    sign = serializers.CharField()
    fingerprint = serializers.CharField()
    state = serializers.ChoiceField(
        choices=["ok", "degraded", "silent", "never seen"], help_text="`reasons` say why it is not ok"
    )
    reasons = serializers.ListField(child=serializers.CharField())
    last_seen = serializers.DateTimeField(allow_null=True)
    last_seen_seconds = serializers.IntegerField(allow_null=True)
    code_version = serializers.CharField(allow_null=True)
    busy = serializers.BooleanField(allow_null=True)
    ledger = LedgerHeadSerializer(allow_null=True)
    ledger_seen = SeenHeadSerializer(many=True, help_text="what its ledger must contain")
    health = serializers.DictField(
        allow_null=True, help_text="as the party signed it; null but for operators and auditors"
    )


class PortalKeySerializer(serializers.Serializer):
    sign = serializers.CharField()
    fingerprint = serializers.CharField()


class PauseSerializer(serializers.Serializer):
    since = serializers.DateTimeField()
    reason = serializers.CharField()


class PartiesSerializer(serializers.Serializer):
    parties = PartySerializer(many=True)
    portal = PortalKeySerializer()
    lost = serializers.IntegerField(allow_null=True, help_text="the party that is declared lost")
    paused = PauseSerializer(allow_null=True)


class ReportSerializer(serializers.Serializer):
    report = serializers.DictField()
    signature = serializers.CharField()
    integers = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), required=False
    )


class TrailSerializer(serializers.Serializer):
    number = serializers.IntegerField(help_text="the last line that `events` lead to")
    hash = serializers.CharField(help_text="its hash")
    events = serializers.ListField(
        child=serializers.CharField(),
        help_text="digests of the events after the line that the heartbeat named",
    )


class AcceptedSerializer(serializers.Serializer):
    accepted = serializers.BooleanField(help_text="false: it was known already")
    audit = TrailSerializer(required=False, help_text="of a heartbeat: how the audit trail goes on")


class LoginSerializer(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)
    code = serializers.CharField(
        max_length=40,
        required=False,
        allow_blank=True,
        default="",
        help_text="of the second factor, if you have one",
    )


class TokenSerializer(serializers.Serializer):
    token = serializers.CharField()
    expiry = serializers.DateTimeField(allow_null=True)


class MeSerializer(serializers.Serializer):
    username = serializers.CharField()
    role = serializers.ChoiceField(choices=Role.choices)
    organisation = serializers.CharField(allow_null=True)


class NewWebhookSerializer(serializers.Serializer):
    """Where to, and of what; without events, of all that your role may hear."""

    url = serializers.CharField(max_length=500)
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=WebhookEvent.choices), required=False, default=list
    )


class WebhookSerializer(serializers.ModelSerializer):
    """A webhook, without its secret."""

    class Meta:
        model = Webhook
        fields = ["id", "url", "events", "enabled", "failures", "created"]
        read_only_fields = fields


class WebhookWithSecretSerializer(WebhookSerializer):
    """The secret is shown when the webhook is made, and never again."""

    secret = serializers.CharField(read_only=True)

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]


class DeliverySerializer(serializers.ModelSerializer):
    """One event on its way; `outcome` is the status of the last try, or why there was none."""

    class Meta:
        model = Delivery
        fields = ["id", "event", "state", "tries", "outcome", "due", "created", "ended_at"]
        read_only_fields = fields
