"""The hospital's side: tables in, sealed bundles out."""
