"""The whole of Fourfold on one machine: what `manage.py up` starts, watches and stops.

Runs at   a developer's machine, a demonstration, the end-to-end tests: never where secrecy counts, since
          four parties on one machine are one organisation.
Sees      keys and accounts of the deployment it makes.
"""
