"""Models and versions, and what people say of them."""
