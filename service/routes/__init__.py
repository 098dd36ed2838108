"""What HTTP says: routes, wire types, and the ASGI layers that every request passes."""
