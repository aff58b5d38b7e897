"""Webhooks: the portal tells an analyst's or a provider's own server that something moved. Ids and states, no answers."""
