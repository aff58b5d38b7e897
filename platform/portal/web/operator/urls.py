from django.urls import path
from django.urls.resolvers import URLPattern

from portal.web.operator import approvals, audit, operations, people

urlpatterns: list[URLPattern] = [
    path("approvals/", approvals.inbox, name="approvals"),
    path("approvals/<uuid:pk>/", approvals.one, name="approval"),
    path("operations/", operations.page, name="operations"),
    path("audit/", audit.page, name="audit"),
    path("audit/export/", audit.export, name="audit-export"),
    path("people/", people.page, name="people"),
    path("people/new/", people.new, name="person-new"),
    path("people/<small:pk>/", people.one, name="person"),
]
