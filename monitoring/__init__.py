"""What operators watch: lines of the log. Used by portal and parties alike; knows nothing of either."""
