"""Events as text: they outlive what they describe."""
