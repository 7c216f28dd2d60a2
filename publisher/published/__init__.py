"""What is published now: the endpoints by name, their slots, and the models that patterns stand for."""
