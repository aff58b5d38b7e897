"""Pages for people: a front page and the log-in. Server-rendered, no inline script or style."""
