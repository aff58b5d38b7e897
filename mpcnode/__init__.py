"""One computing party.

Runs at   one of four organisations that do not collude.
Sees      its own shares, the order, protocol messages.
Never     a clear value that was not noised and approved; another party's store.
"""
