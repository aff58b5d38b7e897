from django.apps import AppConfig


class AbsenceConfig(AppConfig):
    name = "portal.absence"
    label = "absence"
