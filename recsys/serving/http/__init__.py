"""The service over HTTP: routes, what guards them, and the page."""
